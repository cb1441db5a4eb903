"""Means over repeated training runs: Student's interval, the t test, and Holm's correction.

A claim about an algorithm rests on a handful of runs, one value each. The intervals of rates within a
run are in :mod:`redteam_env.evaluation.statistics`.
"""

import math
from collections.abc import Sequence

from redteam_env.evaluation import student
from redteam_env.evaluation.statistics import Interval, checked_confidence


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Return Student's interval of a mean.

    For a handful of training runs: a bootstrap of five values is too narrow, this allows for it.

    Args:
        values: One value a run.
        confidence: In (0, 1).

    Returns:
        ``mean -+ t * s / sqrt(n)`` with n - 1 degrees of freedom, unbounded by the values' range;
        ``None`` for fewer than two values, which say nothing about their spread.
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
    half = student.quantile(n - 1, 0.5 + checked_confidence(confidence) / 2) * spread
    return Interval(mean - half, mean + half)


def t_test(values: Sequence[float]) -> float | None:
    """Return the two-sided p value of Student's t test that a mean is 0.

    For differences of paired runs it is the paired test; it is below .05 where the interval of 95 % of
    :func:`mean_interval` excludes 0.

    Args:
        values: One value a run.

    Returns:
        The p value; ``None`` for fewer than two values. Values without any spread have 1 if they are 0,
        else 0.
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
    if not spread:
        return float(mean == 0)
    return 2 * student.below(n - 1, -abs(mean) / spread)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for the number of tests, in their order.

    The chance of rejecting any true hypothesis whose adjusted value is below a level stays below it,
    however the tests depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: One for each test.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
