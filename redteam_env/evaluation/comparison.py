"""Before and after: the same games played by two pairs of agents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam_env.border.records import demand
from redteam_env.evaluation.matchup import Matchup
from redteam_env.evaluation.rates import OUTCOMES, difference
from redteam_env.evaluation.statistics import Difference
from redteam_env.game import RedteamError
from redteam_env.game.values import whole
from redteam_env.randomness import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two matchups on the same games with the difference of every rate.

    Attributes:
        before: The first matchup.
        after: The second.
        differences: For each rate, after minus before, with its interval.
    """

    before: Matchup
    after: Matchup
    differences: Mapping[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "differences": {name: x.to_json() for name, x in self.differences.items()},
        }


def compare(before: Matchup, after: Matchup, *, seed: int = 0) -> Comparison:
    """Compare two matchups.

    Args:
        before: The first matchup.
        after: The second, on the same games under the same judge.
        seed: Sets the bootstrap's random draws.

    Returns:
        The differences, after minus before.

    Raises:
        RedteamError: If games or judge are not the same.
    """
    seed = demand(seed, whole, "seed")
    if before.judge != after.judge:
        raise RedteamError(
            f"The matchups were judged by {before.judge!r} and {after.judge!r}; judges differ more "
            "than agents do, so evaluate both with one."
        )
    return Comparison(
        before=before,
        after=after,
        differences={
            name: difference(
                after.episodes, before.episodes, name, generator((seed, "bootstrap", name))
            )
            for name in OUTCOMES
        },
    )
