"""How far two judges agree on the same dialogues, question by question."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redteam_env.evaluation.calibration import FIELDS, Score
from redteam_env.evaluation.statistics import Interval, Share, bootstrap_of, share_of
from redteam_env.game import RedteamError, Verdict
from redteam_env.randomness import generator

Answers = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two judges on one question.

    Attributes:
        field: The field of the verdict.
        differing: The share of dialogues, among those that both answered, on which they differ.
        kappa: Cohen's kappa, agreement beyond chance (Educational and Psychological Measurement 20, 1960);
            ``None`` where chance alone would agree always.
        first_only: Dialogues that only the first judge answered.
        second_only: Those that only the second one answered.
        neither: Those that neither answered.
    """

    field: str
    differing: Share
    kappa: Score | None
    first_only: int
    second_only: int
    neither: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "differing": self.differing.to_json(),
            "kappa": self.kappa and self.kappa.to_json(),
            "first_only": self.first_only,
            "second_only": self.second_only,
            "neither": self.neither,
        }


def agreements(
    first: Sequence[Verdict],
    second: Sequence[Verdict],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Mapping[str, Agreement]:
    """Compare the verdicts of two judges on the same dialogues.

    Args:
        first: The first judge's.
        second: The second one's.
        clusters: What dialogues that are not independent share, such as the text of their seed.
        seed: Sets the bootstrap's random draws.

    Returns:
        Their agreement on each of the three questions.

    Raises:
        RedteamError: If the lengths differ.
    """
    if not len(first) == len(second) == len(clusters):
        raise RedteamError(
            f"{len(first)} and {len(second)} verdicts on {len(clusters)} dialogues cannot be compared; "
            "give one of each."
        )
    return {field: _agreement(field, first, second, clusters, seed) for field in FIELDS}


def _agreement(
    field: str,
    first: Sequence[Verdict],
    second: Sequence[Verdict],
    clusters: Sequence[Hashable],
    seed: int,
) -> Agreement:
    pairs = [
        (_answer(x, field), _answer(y, field), c)
        for x, y, c in zip(first, second, clusters, strict=True)
    ]
    both = [(x, y, c) for x, y, c in pairs if x is not None and y is not None]
    shared = [c for _, _, c in both]
    differing = share_of([x is not y for x, y, _ in both], shared)
    a, b = (np.array([row[k] for row in both], dtype=bool) for k in range(2))
    return Agreement(
        field=field,
        differing=differing,
        kappa=_kappa(a, b, differing, shared, generator((seed, "agreement", field))),
        first_only=sum(x is not None and y is None for x, y, _ in pairs),
        second_only=sum(x is None and y is not None for x, y, _ in pairs),
        neither=sum(x is None and y is None for x, y, _ in pairs),
    )


def cohens_kappa(a: Answers, b: Answers) -> float:
    """Return Cohen's kappa of two judges' answers; NaN where chance alone would agree always.

    Args:
        a: One judge's answers.
        b: The other one's on the same dialogues.
    """
    chance = _chance(a, b)
    return float("nan") if chance == 1 else float((np.mean(a == b) - chance) / (1 - chance))


def _chance(a: Answers, b: Answers) -> float:
    p, q = float(np.mean(a)), float(np.mean(b))
    return p * q + (1 - p) * (1 - q)


def _kappa(
    a: Answers,
    b: Answers,
    differing: Share,
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
) -> Score | None:
    if not len(a) or _chance(a, b) == 1:
        return None
    interval = bootstrap_of(cohens_kappa, a, b, clusters, rng)
    if not interval.low < interval.high:  # they never differ, or always do
        scale, inner = 1 - _chance(a, b), differing.interval
        interval = Interval(max(-1.0, 1 - inner.high / scale), min(1.0, 1 - inner.low / scale))
    return Score(value=cohens_kappa(a, b), interval=interval)


def _answer(verdict: Verdict, field: str) -> bool | None:
    answer: bool | None = None if verdict.error is not None else getattr(verdict, field)
    return answer
