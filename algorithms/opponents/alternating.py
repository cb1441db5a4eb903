"""Alternating training: for some steps one role learns against the other, which is frozen; then the other.

The usual way to train two networks against each other (Goodfellow et al., "Generative Adversarial
Nets", 2014, algorithm 1). With shared weights the role that does not learn is played by the weights as
they were when the block began. An attacker's block learns nothing from raw games; give
``--rewrite-fraction 1``, or let a block of the defender make up for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from algorithms.opponents.matching import (
    SIDES,
    both_sides,
    current,
    other,
    versus,
)
from redteam_env.game import Count, check_fields
from redteam_env.protocols import League, Match, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternatingConfig:
    """Settings of alternating training.

    Attributes:
        block: Steps in which one role learns before the other does.
        block_first: The role that begins.
    """

    block: Count = 5
    block_first: Literal["attacker", "defender"] = "attacker"

    def __post_init__(self) -> None:
        check_fields(self)


class Alternating:
    """One role learns at a time."""

    Config: ClassVar[Any] = AlternatingConfig

    def __init__(self, config: AlternatingConfig, *, league: League, seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        self._block = config.block
        first = config.block_first
        self._turns = (first, other(first))
        self._league = league
        self._weights = both_sides(league.weights, "alternating")
        self._shared = len(set(self._weights.values())) == 1
        self._opponent: str | None = None

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Let one role learn; with shared weights, freeze them where a block begins."""
        learner = self._turns[step // self._block % 2]
        if not self._shared:
            return [current(self._weights, (learner,)) for _ in rewritten]
        if step % self._block == 0:
            before = self._opponent
            self._opponent = self._league.freeze(self._weights[learner])
            if before not in (None, self._opponent):
                self._league.drop(before)
        # a raw game is the defender's alone, whoever it is
        alone = current(self._weights, (learner,))
        if learner == SIDES[0]:
            alone = Match(
                players={**self._weights, other(learner): str(self._opponent)}, learners=()
            )
        faced = versus(self._weights, learner, str(self._opponent))
        return [faced if rewrites else alone for rewrites in rewritten]

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - results change nothing
        """Log who learnt."""
        learner = self._turns[step // self._block % 2]
        return {f"league/{role}_learns": float(role == learner) for role in SIDES}

    def state(self) -> Mapping[str, Any]:
        """Return the frozen version."""
        return {"opponent": self._opponent}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a frozen version."""
        self._opponent = state["opponent"]
