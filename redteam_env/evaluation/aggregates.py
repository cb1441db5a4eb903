"""Aggregates over runs and tasks: interquartile mean, its interval, improvement, profiles.

A handful of training runs says little, and the mean over tasks is ruled by outliers. These are the
measures of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(NeurIPS 2021, arXiv 2108.13264). A matrix of scores has a row a training seed and a column a task.
Where that paper draws runs anew within each task, whole rows are drawn here: one run is measured on
all tasks, so its scores rise and fall together, and drawing them apart would make intervals too
narrow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redteam_env.evaluation.statistics import Interval
from redteam_env.game import RedteamError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """A number over runs and tasks with its bootstrap interval.

    Attributes:
        value: The number.
        interval: 95 % unless another confidence was asked for; ``None`` for a single run, which says
            nothing about the spread of runs.
        runs: Training runs behind it.
        tasks: Tasks behind it.
    """

    value: float
    interval: Interval | None
    runs: int
    tasks: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else self.interval.to_json(),
            "runs": self.runs,
            "tasks": self.tasks,
        }


def _iqm(scores: Matrix) -> Matrix:
    """Return the interquartile mean of the last axis: the mean of the middle half of all scores.

    A score that a quartile cuts counts by the share that lies inside, so four scores give the mean
    of the middle two and five that of the middle one and three quarters of its neighbours.
    """
    n = scores.shape[-1]
    edges = np.arange(n + 1) / n
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    found: Matrix = np.sort(scores, axis=-1) @ weights / weights.sum()
    return found


def aggregate(
    scores: Sequence[Sequence[float]] | Matrix,
    rng: np.random.Generator,
    *,
    statistic: Callable[[Matrix], Matrix] = _iqm,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Aggregate:
    """Return the interquartile mean of a matrix of scores with its interval over training seeds.

    Args:
        scores: Shape (seeds, tasks).
        rng: Where the draws come from.
        statistic: Another statistic: it reduces the last axis, over runs and tasks, to a number.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap samples.

    Raises:
        RedteamError: If the matrix is empty or not finite, or an option is out of range.
    """
    table = _matrix(scores)
    value = float(statistic(table.ravel()))
    interval = None
    if len(table) > 1:
        drawn = rng.integers(len(table), size=(_positive(resamples), len(table)))
        interval = _percentiles(statistic(table[drawn].reshape(resamples, -1)), confidence)
    return Aggregate(value=value, interval=interval, runs=len(table), tasks=table.shape[1])


def probability_of_improvement(
    a: Sequence[Sequence[float]] | Matrix,
    b: Sequence[Sequence[float]] | Matrix,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Aggregate:
    """Return how probable it is that a run of ``a`` scores higher than one of ``b``.

    The mean over tasks of the Mann-Whitney statistic, ties counting a half.

    Args:
        a: Scores of one algorithm, shape (seeds, tasks).
        b: Those of another on the same tasks; the seeds may differ in number.
        rng: Where the draws come from.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap samples; the seeds of both are drawn.

    Raises:
        RedteamError: If the tasks differ in number, a matrix is empty or not finite.
    """
    first, second = _matrix(a), _matrix(b)
    if first.shape[1] != second.shape[1]:
        raise RedteamError(
            f"{first.shape[1]} tasks cannot be compared with {second.shape[1]}; score both on the "
            "same ones."
        )
    # wins[i, j]: share of tasks in which run i of a beats run j of b
    wins = (
        (first[:, None] > second[None]).astype(float) + 0.5 * (first[:, None] == second[None])
    ).mean(axis=2)
    interval = None
    if min(wins.shape) > 1:
        rows = rng.integers(len(first), size=(_positive(resamples), len(first)))
        columns = rng.integers(len(second), size=(resamples, len(second)))
        found = wins[rows[:, :, None], columns[:, None]].mean(axis=(1, 2))
        interval = _percentiles(found, confidence)
    return Aggregate(
        value=float(wins.mean()),
        interval=interval,
        runs=min(wins.shape),
        tasks=first.shape[1],
    )


def performance_profile(
    scores: Sequence[Sequence[float]] | Matrix, thresholds: Sequence[float]
) -> list[float]:
    """Return the share of runs and tasks that score above each threshold.

    Args:
        scores: Shape (seeds, tasks).
        thresholds: Where the share is taken.
    """
    flat = _matrix(scores).ravel()
    return [float((flat > x).mean()) for x in thresholds]


def _percentiles(values: Matrix, confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise RedteamError(f"confidence is {confidence}; give a share between 0 and 1.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(float(low), float(high))


def _matrix(scores: Any) -> Matrix:
    table = _checked(scores)
    if table.ndim != 2:
        raise RedteamError(
            f"Scores of shape {table.shape} have no rows and columns; give one row a training seed."
        )
    return table


def _checked(scores: Any) -> Matrix:
    table = np.asarray(scores, dtype=float)
    if not table.size:
        raise RedteamError("There are no scores; give at least one run and one task.")
    if not np.isfinite(table).all():
        raise RedteamError(
            f"A score is {float(table[~np.isfinite(table)][0])}; leave out runs without a score."
        )
    return table


def _positive(resamples: int) -> int:
    if resamples < 1:
        raise RedteamError(f"resamples is {resamples}; draw at least 1.")
    return resamples
