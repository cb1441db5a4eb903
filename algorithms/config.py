"""The configuration of a run: one frozen dataclass a component, flat on the command line and on disk.

A run's ``config.json`` holds the fields of all components side by side; so do the options of
``redteam-env train``. The algorithm's own dataclass comes with the algorithm, a plug-in's too.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam_env.evaluation import build_game
from redteam_env.game import Game, RedteamError
from redteam_env.policies import PolicyConfig

FREE = ("steps", "checkpoint_every", "out", "resume", "json")
"""Options that a resumed run may change."""
_RULES = Game()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How long a run is and where it goes.

    Attributes:
        algorithm: What learns: reinforce_pp, or an installed plug-in.
        steps: Training steps in all.
        games: Games a step.
        seed: Seed of everything random in the run.
        checkpoint_every: Steps between checkpoints; the last step always has one.
        out: The run directory; by default runs/ARRANGEMENT-SEED.
        resume: Go on from the newest checkpoint in the run directory.
        json: Print a summary as JSON instead of text.
    """

    algorithm: str = "reinforce_pp"
    steps: int = 200
    games: int = 64
    seed: int = 0
    checkpoint_every: int = 20
    out: str | None = None
    resume: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "games", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GameConfig:
    """Which game is played.

    Attributes:
        seeds: Seed source: builtin, strongreject, advbench, a file (CSV, JSON lines, parquet), or
            hub:OWNER/NAME; several with a comma between them.
        judge: Judge: lexical (smoke runs only), wildguard, or an installed one.
        judge_url: Address of the judge's server.
        rewards: Reward preset: self_redteam, self_redteam_all_one, zero_sum, safety_only, magic.
        faithfulness_gate: An unfaithful rewrite pays the attacker this and nothing else.
        drop_unfaithful: Leave games with an unfaithful rewrite out of the defender's batch.
        benign_refusal_weight: Factor on the defender's penalty for refusing a benign request.
        exchanges: Attacker-defender exchanges in a rewritten game.
        rewrite_fraction: Share of games in which the attacker plays; 0 is raw seeds only.
        benign_fraction: Share of benign seeds.
        thinking: none, optional or required for all seats, or for some, such as
            attacker_0=required,defender_0=none.
        leak_on_violation: Show malformed turns as a whole, as Self-RedTeam's code does.
        prompts: Directory of instruction texts in place of ours, or apothecary for the controlled
            world's.
        max_seed_chars: Longest seed, in characters.
        max_action_chars: Longest action, in characters.
    """

    seeds: str = "builtin"
    judge: str = "lexical"
    judge_url: str | None = None
    rewards: str = "self_redteam"
    faithfulness_gate: float | None = None
    drop_unfaithful: bool = False
    benign_refusal_weight: float = 1.0
    exchanges: int = 1
    rewrite_fraction: float = 0.5
    benign_fraction: float = 0.5
    thinking: str = "none"
    leak_on_violation: bool = False
    prompts: str | None = None
    max_seed_chars: int = _RULES.max_seed_chars
    max_action_chars: int = _RULES.max_action_chars

    def __post_init__(self) -> None:
        self.game()
        for name in ("rewrite_fraction", "benign_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give a share in [0, 1].")

    def game(self) -> Game:
        """Return the rules."""
        return build_game(dataclasses.asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything a run is made from.

    Attributes:
        run: Length and place.
        game: The game.
        policy: The policies.
        learner: The algorithm's own settings.
    """

    run: RunConfig
    game: GameConfig
    policy: PolicyConfig
    learner: Any

    def __post_init__(self) -> None:
        if self.policy.temperature == 0:
            raise RedteamError("temperature is 0; training samples, so give a number above 0.")
        roles = [role for role, name in self.policy.weights.items() if name != "base"]
        if roles == ["attacker"] and self.game.rewrite_fraction == 0:
            raise RedteamError(
                "attacker_only with rewrite_fraction 0 has nothing to train: raise the fraction."
            )
        self.flat()

    def flat(self) -> dict[str, Any]:
        """Return the fields of all components side by side, as ``config.json`` holds them.

        Raises:
            RedteamError: If an algorithm's field has the name of another component's.
        """
        result: dict[str, Any] = {}
        for part in (self.run, self.game, self.policy, self.learner):
            fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            twice = sorted(set(fields) & set(result))
            if twice:
                raise RedteamError(
                    f"{type(part).__name__} has the fields {twice}, which exist elsewhere; "
                    "an algorithm names its own settings differently."
                )
            result.update(fields)
        return result


def changed(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options in which a resumed run differs from its ``config.json``.

    Args:
        stored: The run's flat configuration.
        given: The one asked for now.

    Returns:
        Stored and given value of every option that must stay and does not.
    """
    return {
        name: (stored.get(name), given.get(name))
        for name in sorted(set(stored) | set(given))
        if name not in FREE and stored.get(name) != given.get(name)
    }
