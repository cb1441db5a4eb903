"""Simultaneous self-play, the default: both roles play with their current weights, and both learn.

As in Self-RedTeam (arXiv 2506.07468).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from algorithms.opponents.matching import current
from redteam_env.protocols import League, Match, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfPlayConfig:
    """Self-play has no settings."""


class SelfPlay:
    """Everybody plays with the current weights."""

    Config: ClassVar[Any] = SelfPlayConfig

    def __init__(self, config: SelfPlayConfig, *, league: League, seed: int) -> None:  # noqa: ARG002 - as every sampler is made
        self._weights = league.weights

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:  # noqa: ARG002 - all steps are alike
        """Return the match of the current weights for each group."""
        return [current(self._weights, tuple(self._weights)) for _ in rewritten]

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - nothing to note
        """Log nothing."""
        return {}

    def state(self) -> Mapping[str, Any]:
        """Return nothing."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
