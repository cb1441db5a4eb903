"""Fictitious self-play: each role learns against a past version of the other, all equally likely.

Training against the other's average so far is what fictitious play does (Brown, 1951; Heinrich, Lanctot
and Silver, "Fictitious Self-Play in Extensive-Form Games", ICML 2015). Simplified: a best response is
approached by a few steps, not computed. A bounded history stays a uniform sample of all versions by
reservoir sampling (Vitter, 1985, algorithm R; so does Neural Fictitious Self-Play, arXiv 1603.01121).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from algorithms.opponents.matching import against_versions, both_sides, drawn
from redteam_env.game import Count, check_fields
from redteam_env.protocols import League, Match, Result
from redteam_env.randomness import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class FictitiousConfig:
    """Settings of fictitious self-play.

    Attributes:
        snapshot_every: Steps between frozen versions; the weights at the start are the first.
        history: Most frozen versions of each weights.
        opponents_per_step: Most different versions that each role meets in a step; each costs a batch
            of its own.
    """

    snapshot_every: Count = 5
    history: Count = 20
    opponents_per_step: Count = 4

    def __post_init__(self) -> None:
        check_fields(self)


class Fictitious:
    """Uniform choice among past versions."""

    Config: ClassVar[Any] = FictitiousConfig

    def __init__(self, config: FictitiousConfig, *, league: League, seed: int) -> None:
        self._config = config
        self._league = league
        self._seed = seed
        self._weights = both_sides(league.weights, "fictitious")
        self._seen = 0
        self._versions: dict[str, list[str]] = {name: [] for name in self._weights.values()}

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Freeze versions when they are due; let each role learn against drawn ones."""
        if step % self._config.snapshot_every == 0:
            self._keep(step)
        rng = generator((self._seed, "opponents", step))
        count = self._config.opponents_per_step
        faced = {}
        for role, name in self._weights.items():
            versions = self._versions[name]
            faced[role] = drawn(versions, [1.0] * len(versions), count, rng)
        return against_versions(self._weights, rewritten, faced)

    def _keep(self, step: int) -> None:
        self._seen += 1
        rng = generator((self._seed, "history", step))
        for name, versions in self._versions.items():
            place = int(rng.integers(self._seen))
            full = len(versions) >= self._config.history
            if full and place >= self._config.history:
                continue
            new = self._league.freeze(name)
            if new in versions:  # nothing was learnt since
                continue
            if full:
                self._league.drop(versions[place])
                versions[place] = new
            else:
                versions.append(new)

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - results change nothing
        """Log how many versions there are."""
        return {f"league/{name}_versions": len(x) for name, x in self._versions.items()}

    def state(self) -> Mapping[str, Any]:
        """Return the history."""
        return {"seen": self._seen, "versions": self._versions}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a history."""
        self._seen = int(state["seen"])
        self._versions = {name: list(x) for name, x in state["versions"].items()}
