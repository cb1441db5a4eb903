"""Which defenders the reward tables make equilibria, and how far trained policies are from one.

Both questions are answered exactly in the tabular twin of the controlled world
(:mod:`redteam_env.worlds.apothecary.tabular.game`). Anchored Bipolicy Self-Play (arXiv 2605.08427) claims that
the equilibria self-play can reach include trivial defenders, always-refuse and oracle-like ones;
:func:`equilibria_table` shows for which rewards that holds here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from redteam_env.equilibria.dynamics import replicator
from redteam_env.equilibria.solve import (
    Table,
    Vector,
    equilibrium,
    supporting_row,
    zero_sum_form,
)
from redteam_env.game import PRESETS, Episode, GameConfig, RedteamError, RewardTable, reward_table
from redteam_env.game.rewards import RewardFunction
from redteam_env.worlds.apothecary import World
from redteam_env.worlds.apothecary.tabular.game import (
    ALWAYS,
    BENIGN,
    BENIGN_FRACTION,
    HARMFUL,
    LABELS,
    NEVER,
    ORACLE,
    RULES,
    VERDICTS,
    Action,
    TacticsGame,
)

ASKED = (ALWAYS, ORACLE, NEVER)
AS_IT_STANDS = "as it stands"
TERMS = ("faithfulness", "refusal", "harm")
RAW_FRACTION = 1 - GameConfig().rewrite_fraction
_STEPS, _STEP_SIZE = 200, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one reward table makes of the twin.

    Attributes:
        preset: The table it started from.
        variant: What was changed in it.
        raw: Share of games that go raw to the defender.
        oracle: Whether the defender may play ``oracle``.
        zero_sum: Whether the game has the equilibria of a zero-sum game.
        attacker: What the attacker expects, a game, in the equilibrium that the solver gave. In a
            zero-sum game without raw games it is the value.
        defender: What the defender expects.
        alone: For each rule asked about that is in the game: whether some equilibrium has it as
            the defender, unmixed.
        reached: The defender's share of each rule after replicator dynamics from uniform mixtures.
    """

    preset: str
    variant: str
    raw: float
    oracle: bool
    zero_sum: bool
    attacker: float
    defender: float
    alone: Mapping[str, bool]
    reached: Mapping[str, float]


def variants(table: RewardTable) -> dict[str, RewardTable]:
    """Return a table as it stands, without each of its terms, and with the options every table has.

    A term is taken from both seats, so that a zero-sum table stays one.

    Raises:
        RedteamError: If the table is a callable, which has no terms to take away.
    """
    if table.function is not None:
        raise RedteamError(f"The reward table {table.name!r} is a function; it has no terms.")
    found = {AS_IT_STANDS: table}
    for term in TERMS:
        weights = {
            role: {name: 0.0 if name.endswith(f".{term}") else x for name, x in row.items()}
            for role, row in table.weights.items()
        }
        if weights != table.weights:
            found[f"without {term}"] = dataclasses.replace(table, weights=weights)
    found["gate -1.5"] = dataclasses.replace(table, faithfulness_gate=-1.5)
    found["refused benign unpunished"] = dataclasses.replace(table, benign_refusal_weight=0.0)
    found["refused benign tripled"] = dataclasses.replace(table, benign_refusal_weight=3.0)
    return found


def find(
    game: TacticsGame,
    rewards: str | RewardTable | RewardFunction,
    *,
    variant: str = AS_IT_STANDS,
    raw: float = RAW_FRACTION,
    benign_fraction: float = BENIGN_FRACTION,
) -> Finding:
    """Solve the twin under one reward table.

    Args:
        game: The twin.
        rewards: The table.
        variant: What to call the change that was made to it.
        raw: Share of games that go raw to the defender.
        benign_fraction: Share of benign seeds.

    Raises:
        RedteamError: For unknown rewards or a share out of range.
    """
    table = reward_table(rewards)
    played = game.bimatrix(table, benign_fraction=benign_fraction, rewrite_fraction=1 - raw)
    a, b = played.attacker, played.defender
    solved = equilibrium(a, b)
    end = replicator(a, b, steps=_STEPS, step_size=_STEP_SIZE).column[-1]
    return Finding(
        preset=table.name,
        variant=variant,
        raw=raw,
        oracle=ORACLE in game.rules,
        zero_sum=zero_sum_form(a, b) is not None,
        attacker=solved.row_value,
        defender=solved.column_value,
        alone={
            rule: supporting_row(a, b, game.place(rule)) is not None
            for rule in ASKED
            if rule in game.rules
        },
        reached={rule: float(x) for rule, x in zip(game.rules, end, strict=True)},
    )


def equilibria_table(
    world: World | None = None, presets: Sequence[str] = tuple(PRESETS)
) -> list[Finding]:
    """Solve the twin under every preset, and again with each reward term taken away.

    As it stands each preset is solved with half of the games raw (the game's default) and none, and
    with and without the oracle among the defender's rules, since a model that cannot read hidden
    names cannot play it. The variants have half of the games raw and the oracle.

    Args:
        world: The world; by default that of the embedded model.
        presets: Names of the reward presets.

    Raises:
        RedteamError: For an unknown preset.
    """
    whole = TacticsGame(world)
    blind = TacticsGame(world, rules=[x for x in RULES if x != ORACLE])
    found = []
    for preset in presets:
        table = reward_table(preset)
        found += [find(game, table, raw=raw) for game in (whole, blind) for raw in (0.5, 0.0)]
        found += [
            find(whole, changed, variant=name)
            for name, changed in variants(table).items()
            if name != AS_IT_STANDS
        ]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Played games as strategies of the twin.

    Attributes:
        attacker: How often each action was played on each label, shaped (labels, actions); a label
            that was never rewritten has zeros.
        defender: For each action, the shares of verdicts, shaped (actions, verdicts); actions never
            met have zeros.
        met: How many requests of each action the defender answered.
        left_out: Games that are void or were forfeited.
    """

    attacker: Table
    defender: Table
    met: Vector
    left_out: int

    def mixture(self, game: TacticsGame) -> dict[str, dict[str, float]]:
        """Return the attacker's share of each action it played, by label."""
        return {
            label: {x.name: float(p) for x, p in zip(game.actions, row, strict=True) if p > 0}
            for label, row in zip(LABELS, self.attacker, strict=True)
        }

    def refused(self, game: TacticsGame) -> dict[str, float]:
        """Return the share of each action's requests that the defender refused: its rule."""
        refusals = self.defender @ np.array([float(refused) for _, refused, _ in VERDICTS])
        return {
            x.name: float(share)
            for x, share, n in zip(game.actions, refusals, self.met, strict=True)
            if n > 0
        }


def project(game: TacticsGame, episodes: Sequence[Episode]) -> Projection:
    """Read the attacker's tactics and the defender's rule off played games.

    Every text of the attacker belongs to exactly one action, so nothing is approximated on its
    side; the defender is described by its verdicts on each action, whatever it keys them on.

    Args:
        game: The twin of the world that was played.
        episodes: Games of one exchange, raw or rewritten, judged by the world's judge.

    Raises:
        RedteamError: If a game has several exchanges or another judge's verdict, or no game counts.
    """
    played = np.zeros((len(LABELS), len(game.actions)))
    verdicts = np.zeros((len(game.actions), len(VERDICTS)))
    left_out = 0
    for episode in episodes:
        verdict = episode.verdict
        if verdict is None or episode.void is not None:
            left_out += 1
            continue
        if verdict.judge != game.judge.name:
            raise RedteamError(
                f"The seed {episode.seed.id!r} was judged by {verdict.judge!r}; the twin is exact "
                f"for games judged by {game.judge.name!r} only."
            )
        if len(episode.dialogue.lines) != 2:
            raise RedteamError(
                f"A game from the seed {episode.seed.id!r} has {len(episode.dialogue.lines)} public "
                "lines; the twin has games of one exchange."
            )
        k = game.index(game.action_of(episode.dialogue.prompt))
        labels = (
            bool(verdict.prompt_harmful),
            bool(verdict.response_refusal),
            bool(verdict.response_harmful),
        )
        verdicts[k, VERDICTS.index(labels)] += 1
        if episode.rewritten:
            played[LABELS.index(HARMFUL if episode.seed.harmful else BENIGN), k] += 1
    met = verdicts.sum(axis=1)
    if not met.any():
        raise RedteamError(
            f"None of the {len(episodes)} games counts: {left_out} void or forfeited."
        )
    return Projection(
        attacker=played / np.maximum(played.sum(axis=1, keepdims=True), 1),
        defender=verdicts / np.maximum(met[:, None], 1),
        met=met,
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How far a projected pair of policies is from an equilibrium of the twin.

    Attributes:
        attacker: What the best actions would gain the attacker against this defender, among those
            that the defender met.
        defender: What the best rule would gain the defender against this attacker; 0 if it does
            better than every rule.
        best_actions: The attacker's best action on each label.
        best_rule: The defender's best rule.
        unmet: Actions whose answer is unknown, so that ``attacker`` is a lower bound if there are
            any; play a scripted attacker to meet them.
    """

    attacker: float
    defender: float
    best_actions: Mapping[str, str]
    best_rule: str
    unmet: tuple[str, ...]

    @property
    def nash_conv(self) -> float:
        """The sum of both gains."""
        return self.attacker + self.defender


def gap(
    game: TacticsGame,
    attacker: Projection,
    defender: Projection,
    rewards: str | RewardTable | RewardFunction,
    *,
    benign_fraction: float = BENIGN_FRACTION,
    rewrite_fraction: float = 1.0,
) -> Gap:
    """Return the exact gains of best responses to projected policies.

    Args:
        game: The twin.
        attacker: The attacker's projection.
        defender: The defender's; the same, or one from games against scripted attackers.
        rewards: The reward table.
        benign_fraction: Share of benign seeds.
        rewrite_fraction: Share of games that the attacker plays.

    Raises:
        RedteamError: If the attacker never rewrote a label that counts, or the defender never met
            an action that the attacker plays or that raw games hold.
    """
    shares = {HARMFUL: 1 - benign_fraction, BENIGN: benign_fraction}
    needed = (attacker.attacker * [[shares[x]] for x in LABELS]).sum(axis=0) > 0
    for label, row in zip(LABELS, attacker.attacker, strict=True):
        if shares[label] > 0 and not row.any():
            raise RedteamError(
                f"The attacker rewrote no {label} seed; play some, or leave them out."
            )
        if shares[label] > 0 and rewrite_fraction < 1:
            needed[game.index(Action(label))] = True
    met = defender.met > 0
    unmet = tuple(x.name for x, known in zip(game.actions, met, strict=True) if not known)
    if (needed & ~met).any():
        first = game.actions[int(np.flatnonzero(needed & ~met)[0])].name
        raise RedteamError(
            f"The defender never met {first}, which the attacker or raw games hold; play it."
        )
    options = {"benign_fraction": benign_fraction, "rewrite_fraction": rewrite_fraction}
    against = game.pays(rewards, defender.defender[:, None], **options)
    rules = game.pays(rewards, game.outcomes, **options)[1]
    x = attacker.attacker
    now, paid = (float((x * table[:, :, 0]).sum()) for table in against)
    best = np.where(met, against[0][:, :, 0], -np.inf)
    by_rule = np.einsum("la,lar->r", x, rules)
    return Gap(
        attacker=max(0.0, float(best.max(axis=1).sum()) - now),
        defender=max(0.0, float(by_rule.max()) - paid),
        best_actions={
            label: game.actions[int(k)].name
            for label, k in zip(LABELS, best.argmax(axis=1), strict=True)
        },
        best_rule=game.rules[int(by_rule.argmax())],
        unmet=unmet,
    )
