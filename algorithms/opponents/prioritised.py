"""Prioritised fictitious self-play: past versions that a role loses to come more often.

PFSP of AlphaStar (Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement
learning", Nature 575, 2019; methods, "Prioritized fictitious self-play"): version B is met with a chance
proportional to ``f(P[A beats B])``, ``f_hard(x) = (1 - x)^p`` or ``f_var(x) = x (1 - x)``. Simplified:
``P`` is the share of games won, recent ones weighing more, with half a win and half a loss added; a
draw is half a win. A full history loses the version that is beaten most often.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from algorithms.opponents.matching import (
    SIDES,
    against_versions,
    both_sides,
    drawn,
    other,
)
from redteam_env.game import Count, at_least, check_fields
from redteam_env.protocols import League, Match, Result
from redteam_env.randomness import generator

Priority = Literal["hard", "variance"]
FADING = 0.9
"""What a game counts for one step later: the learner has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritisedConfig:
    """Settings of prioritised fictitious self-play.

    Attributes:
        snapshot_every: Steps between frozen versions; the weights at the start are the first.
        history: Most frozen versions of each weights.
        opponents_per_step: Most different versions that each role meets in a step; each costs a batch
            of its own.
        priority: hard (versions that win most come most often) or variance (those of equal strength).
        hardness: The power p of hard; 0 is uniform.
    """

    snapshot_every: Count = 5
    history: Count = 20
    opponents_per_step: Count = 4
    priority: Priority = "hard"
    hardness: Annotated[float, at_least(0)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)


def priority(wins: float, games: float, *, kind: Priority, hardness: float) -> float:
    """Return a version's unnormalised chance.

    Args:
        wins: Games the learner won against it.
        games: Games it played against it.
        kind: Which function of the win rate.
        hardness: The power of ``hard``.
    """
    rate = win_rate(wins, games)
    return float((1 - rate) ** hardness if kind == "hard" else rate * (1 - rate))


def win_rate(wins: float, games: float) -> float:
    """Return the share of games won with half a win and half a loss added."""
    return (wins + 0.5) / (games + 1)


class Prioritised:
    """Past versions by the learner's win rate against them."""

    Config: ClassVar[Any] = PrioritisedConfig

    def __init__(self, config: PrioritisedConfig, *, league: League, seed: int) -> None:
        self._config = config
        self._league = league
        self._seed = seed
        self._weights = both_sides(league.weights, "prioritised")
        # for each role that is played by frozen versions: the learner's wins and games against each
        self._met: dict[str, dict[str, list[float]]] = {role: {} for role in SIDES}

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Freeze versions when they are due; let each role learn against drawn ones."""
        if step % self._config.snapshot_every == 0:
            self._keep()
        rng = generator((self._seed, "opponents", step))
        faced = {}
        for role, met in self._met.items():
            chances = [self._priority(*counts) for counts in met.values()]
            if not sum(chances):
                chances = [1.0] * len(chances)
            faced[role] = drawn(list(met), chances, self._config.opponents_per_step, rng)
        return against_versions(self._weights, rewritten, faced)

    def _priority(self, wins: float, games: float) -> float:
        return priority(wins, games, kind=self._config.priority, hardness=self._config.hardness)

    def _keep(self) -> None:
        before = self._known()
        for role, name in self._weights.items():
            met = self._met[role]
            met.setdefault(self._league.freeze(name), [0.0, 0.0])
            if len(met) > self._config.history:
                older = list(met)[:-1]  # the newest stays: nothing is known of it yet
                met.pop(max(older, key=lambda version: win_rate(*met[version])), None)
        for version in sorted(before - self._known()):
            self._league.drop(version)

    def _known(self) -> set[str]:
        return {version for met in self._met.values() for version in met}

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - steps are alike
        """Count wins against frozen versions."""
        for met in self._met.values():
            for counts in met.values():
                counts[:] = [FADING * counts[0], FADING * counts[1]]
        for result in results:
            for role, met in self._met.items():
                counts = met.get(result.players[role], [0.0, 0.0])
                gap = result.payoffs[other(role)] - result.payoffs[role]
                counts[:] = [counts[0] + (1 + (gap > 0) - (gap < 0)) / 2, counts[1] + 1]
        return {
            f"league/{other(role)}_win_rate": sum(win_rate(*x) for x in met.values()) / len(met)
            for role, met in self._met.items()
        }

    def state(self) -> Mapping[str, Any]:
        """Return the history with what is known of it."""
        return {"met": self._met}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a history."""
        self._met = {
            role: {version: [float(x) for x in counts] for version, counts in met.items()}
            for role, met in state["met"].items()
        }
