"""The settings of a game: each default and meaning is stated here and nowhere else.

The trainer takes them as they are; the environments (:class:`redteam_env.envs.EnvConfig`) and the
options of the commands are derived from them. What the names of prompts mean is known to the worlds,
so :func:`redteam_env.worlds.build_game` makes the rules; seed sources and judges are resolved by
whoever plays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self

from redteam_env.game.checks import Count, Share, above, at_least, check_fields
from redteam_env.game.errors import RedteamError, unknown_name
from redteam_env.game.records import ATTACKER, DEFENDER, JUDGE
from redteam_env.game.rewards import reward_table
from redteam_env.game.thinking import Thinking

SEATS = (ATTACKER, DEFENDER)
Credit = Literal["episode", "turn"]
"""What a turn is credited with: the reward of its game, or what its exchange and later ones paid."""
PromptLabel = Literal["seed", "judge"]
"""Who says whether the request of a raw game is harmful: its seed's label, or the judge."""
BY_LABELS, BY_JUDGE, BY_EMBEDDING = "labels", "judge", "embedding:"
"""What decides whether a rewrite is faithful: labels alone, or beside them the judge or an embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GameConfig:
    """Which game is played.

    Attributes:
        world: The controlled world that the game is played in: apothecary, apothecary-easy,
            apothecary-hard, apothecary-coupled, or an installed one. One word sets model, seeds, judge,
            instruction texts, rewards, sizes and learning rates where they are not given.
        seeds: Seed source: builtin, strongreject, advbench, a file (CSV, JSON lines, parquet), or
            hub:OWNER/NAME; several with a comma between them.
        judge: Judge: seed_labels (the seeds' labels and lexical refusals; smoke runs only), lexical
            (the same), wildguard or another card (redteam-env judge list), the path of a card, or an
            installed one; options stand behind its name, as in qwen3guard_strict?soft=true.
        judge_url: Address of the judge's server.
        prompt_label: Whose label the request of a raw game has: seed (it is known), or judge, as in
            Self-RedTeam's code.
        rewards: Reward preset: self_redteam, self_redteam_all_one, zero_sum, safety_only, magic.
        faithfulness: What, beside the label, tells whether a rewrite asks for what its seed asks for:
            labels (nothing else), embedding:minilm or another registered embedder, or judge (if it can
            compare them; a world's judge does so exactly). A refusal to attack is never faithful.
        faithfulness_threshold: The least score of a faithful rewrite, above 0: a cosine or a probability.
        faithfulness_gate: An unfaithful rewrite pays the attacker this and nothing else.
        drop_unfaithful: Leave games with an unfaithful rewrite out of the defender's batch.
        benign_refusal_weight: Factor on the defender's penalty for refusing a benign request.
        exchanges: Attacker-defender exchanges in a rewritten game.
        credit: What a turn is paid for. episode: the judge reads the game once, at its end, and every
            turn is credited with the reward. turn: the judge reads after each exchange, the game pays
            the sum, and a turn is credited with its own exchange and the later ones.
        judge_seat: Let a player at judge_0 read each finished dialogue, too, and answer in three lines. It
            is paid for agreement with the judge, which still decides what the others are paid.
        rewrite_fraction: Share of games in which the attacker plays; 0 is raw seeds only.
        benign_fraction: Share of benign seeds.
        thinking: none, optional or required; or by seat, such as
            attacker_0=required,defender_0=none.
        leak_on_violation: Show malformed turns as a whole, as Self-RedTeam's code does.
        prompts: Instruction texts: default, example (shorter, one example each, for small models),
            self_redteam:FILE (Self-RedTeam's own, in its red_team/prompts.py; self_redteam_direct:FILE
            without thoughts), a directory of such texts, or apothecary for the controlled world's; by
            default default.
        max_seed_chars: Longest seed, in characters; a longer one is an error.
        max_action_chars: Longest action, in characters; a longer one is cut.
    """

    world: str | None = None
    seeds: str = "builtin"
    judge: str = "seed_labels"
    judge_url: str | None = None
    prompt_label: PromptLabel = "seed"
    rewards: str = "self_redteam"
    faithfulness: str = BY_LABELS
    faithfulness_threshold: Annotated[Share, above(0)] = 0.35
    faithfulness_gate: float | None = None
    drop_unfaithful: bool = False
    benign_refusal_weight: Annotated[float, at_least(0)] = 1.0
    exchanges: Count = 1
    credit: Credit = "episode"
    judge_seat: bool = False
    rewrite_fraction: Share = 0.5
    benign_fraction: Share = 0.5
    thinking: str = "optional"
    leak_on_violation: bool = False
    prompts: str | None = None
    max_seed_chars: Count = 1000
    max_action_chars: Count = 8000

    def __post_init__(self) -> None:
        check_fields(self)
        parse_thinking(self.thinking, self.seats)
        check_faithfulness(self.faithfulness)
        reward_table(self.rewards)

    @property
    def seats(self) -> tuple[str, ...]:
        """The seats in the order in which they move."""
        return (*SEATS, JUDGE) if self.judge_seat else SEATS

    @classmethod
    def from_flat(cls, options: Mapping[str, Any]) -> Self:
        """Make the settings from options side by side, as a run's ``config.json`` holds them.

        Args:
            options: Values by name; ``None`` stands for the default, and other names are passed over.

        Raises:
            RedteamError: If a value is wrong.
        """
        names = [field.name for field in fields(cls)]
        return cls(**{x: options[x] for x in names if options.get(x) is not None})


def check_faithfulness(measure: str) -> None:
    """Refuse what names no measure of faithfulness.

    Args:
        measure: ``labels``, ``judge``, or ``embedding:`` and the name of an embedder.

    Raises:
        RedteamError: If it is something else.
    """
    embedder = measure.removeprefix(BY_EMBEDDING)
    if measure not in {BY_LABELS, BY_JUDGE} and embedder in {"", measure}:
        raise unknown_name("faithfulness", measure, (BY_LABELS, BY_JUDGE, f"{BY_EMBEDDING}minilm"))


def parse_thinking(
    rule: str | Mapping[str, str], seats: Sequence[str] = SEATS
) -> dict[str, Thinking]:
    """Read which seats think.

    Args:
        rule: One rule for all seats (``none``, ``optional``, ``required``), or rules for some, as a
            mapping or a text such as ``attacker_0=required,defender_0=none``.
        seats: The seats of the game.

    Returns:
        The rule of each seat that was named.

    Raises:
        RedteamError: If a seat or a rule is unknown, or a seat is named twice.
    """
    if isinstance(rule, Mapping):
        named = list(rule.items())
    elif "=" in rule:
        named = [_pair(part) for part in rule.split(",")]
    else:
        named = [(seat, rule) for seat in seats]
    rules: dict[str, Thinking] = {}
    for seat, name in named:
        if seat not in seats:
            raise unknown_name("seat in thinking", seat, seats)
        if seat in rules:
            raise RedteamError(f"thinking names {seat} twice in {rule!r}; give it one rule.")
        rules[seat] = _rule(name)
    return rules


def _pair(part: str) -> tuple[str, str]:
    seat, _, name = part.partition("=")
    return seat.strip(), name


def _rule(name: str) -> Thinking:
    try:
        return Thinking(name.strip())
    except ValueError:
        raise unknown_name(
            "thinking rule",
            name,
            Thinking,
            hint="Or name seats: attacker_0=required,defender_0=none.",
        ) from None
