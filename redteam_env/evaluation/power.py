"""How small a difference a number of runs can show, and how many runs a difference needs.

Two algorithms with n training seeds each, whose scores scatter by s from seed to seed, are told apart
if Welch's interval of the difference of their means excludes 0. How often that happens follows from the
noncentral t distribution (Cohen, *Statistical Power Analysis for the Behavioral Sciences*, 2nd ed. 1988,
chapter 2): for a true difference d the statistic has 2n - 2 degrees of freedom and noncentrality
``d / (s * sqrt(2 / n))``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from redteam_env.evaluation import student
from redteam_env.evaluation.statistics import Interval
from redteam_env.game import RedteamError

POWER, CONFIDENCE = 0.8, 0.95
"""A difference counts as detectable if it is found 8 times in 10, by an interval of 95 %."""
MOST_SEEDS = 1000
"""Where the search for a number of seeds ends: whoever needs more needs another question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two algorithms beside each other, by one score of each run.

    Attributes:
        difference: Mean of the first less mean of the second.
        interval: Welch's interval of it (Biometrika 34, 1947); ``None`` for fewer than two runs of
            either.
        seeds: Seeds each would need so that a difference of this size is found 8 times in 10, given
            how runs scatter here; more than there are if they are not told apart. ``None`` if they
            need more than :data:`MOST_SEEDS`, or nothing is known of the scatter.
    """

    difference: float
    interval: Interval | None
    seeds: int | None

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "difference": self.difference,
            "interval": None if self.interval is None else self.interval.to_json(),
            "seeds_needed": self.seeds,
        }


def compare_runs(a: Sequence[float], b: Sequence[float]) -> Contrast:
    """Compare two algorithms by one score of each run.

    Args:
        a: Scores of the first, one a training seed.
        b: Those of the second; the number of seeds may differ.

    Raises:
        RedteamError: If either has no run.
    """
    if not len(a) or not len(b):
        raise RedteamError("An algorithm without runs cannot be compared; give one score a run.")
    (mean_a, var_a), (mean_b, var_b) = _moments(a), _moments(b)
    difference = mean_a - mean_b
    if min(len(a), len(b)) < 2:
        return Contrast(difference=difference, interval=None, seeds=None)
    seeds = seeds_needed(abs(difference), math.sqrt((var_a + var_b) / 2))
    parts = var_a / len(a), var_b / len(b)
    if not sum(parts):  # neither scatters: the difference is what it is
        return Contrast(
            difference=difference, interval=Interval(difference, difference), seeds=seeds
        )
    # Welch and Satterthwaite's degrees of freedom
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True)
    )
    half = student.quantile(freedom, 0.5 + CONFIDENCE / 2) * math.sqrt(sum(parts))
    interval = Interval(difference - half, difference + half)
    found = Contrast(difference=difference, interval=interval, seeds=seeds)
    if found.told_apart or seeds is None:
        return found
    # the search takes both to scatter alike, so it may name as few seeds as were too few here
    return replace(found, seeds=max(seeds, max(len(a), len(b)) + 1))


def detectable_difference(deviation: float, seeds: int) -> float:
    """Return the smallest difference of two means that is found 8 times in 10.

    Args:
        deviation: Standard deviation of the score over the training seeds of one algorithm.
        seeds: Training seeds of each algorithm, at least 2.

    Raises:
        RedteamError: If the deviation is negative or there are fewer than two seeds.
    """
    freedom, limit = _test(deviation, seeds)
    noncentrality = student.noncentrality_with(freedom, 1 - POWER, limit)
    return noncentrality * deviation * math.sqrt(2 / seeds)


def detectable_mean(deviation: float, runs: int, *, level: float = 1 - CONFIDENCE) -> float:
    """Return the smallest mean that Student's two-sided test tells from 0 8 times in 10.

    For the differences of paired runs, whose statistic has n - 1 degrees of freedom and noncentrality
    ``mean / (s / sqrt(n))``.

    Args:
        deviation: Standard deviation of the values over the runs.
        runs: How many there are, at least 2.
        level: The p value below which a mean counts as found.

    Raises:
        RedteamError: If the deviation is negative or there are fewer than two runs.
    """
    _check(deviation, runs)
    limit = student.quantile(runs - 1, 1 - level / 2)
    return student.noncentrality_with(runs - 1, 1 - POWER, limit) * deviation / math.sqrt(runs)


def detection_rate(difference: float, deviation: float, seeds: int) -> float:
    """Return how often a difference of two means is found.

    Args:
        difference: The true difference.
        deviation: Standard deviation of the score over the training seeds of one algorithm.
        seeds: Training seeds of each algorithm, at least 2.

    Raises:
        RedteamError: If the deviation is negative or there are fewer than two seeds.
    """
    freedom, limit = _test(deviation, seeds)
    if not deviation:
        return float(difference != 0)
    noncentrality = abs(difference) / (deviation * math.sqrt(2 / seeds))
    below, upto = (student.noncentral_below(freedom, noncentrality, t) for t in (-limit, limit))
    return below + 1 - upto


def seeds_needed(difference: float, deviation: float) -> int | None:
    """Return the fewest seeds of each algorithm with which a difference is found 8 times in 10.

    Args:
        difference: The true difference of the means.
        deviation: Standard deviation of the score over the training seeds of one algorithm.

    Returns:
        The number, at least 2; ``None`` if it is above :data:`MOST_SEEDS`.
    """
    low, high = 2, MOST_SEEDS
    if not difference or detection_rate(difference, deviation, high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if detection_rate(difference, deviation, middle) < POWER:
            low = middle + 1
        else:
            high = middle
    return low


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation within groups of runs, pooled over them.

    Args:
        groups: The scores of each algorithm's runs; groups of one run say nothing.

    Raises:
        RedteamError: If no group has two runs.
    """
    several = [x for x in groups if len(x) > 1]
    if not several:
        raise RedteamError(
            "No algorithm has two runs; the scatter of runs needs at least two seeds."
        )
    squares = math.fsum(_moments(x)[1] * (len(x) - 1) for x in several)
    return math.sqrt(squares / sum(len(x) - 1 for x in several))


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the unbiased variance, 0 for a single value."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((x - mean) ** 2 for x in values) / max(1, len(values) - 1)


def _test(deviation: float, seeds: int) -> tuple[int, float]:
    """Return the degrees of freedom and the limit beyond which a difference counts as found."""
    _check(deviation, seeds)
    freedom = 2 * seeds - 2
    return freedom, student.quantile(freedom, 0.5 + CONFIDENCE / 2)


def _check(deviation: float, seeds: int) -> None:
    if deviation < 0:
        raise RedteamError(f"deviation is {deviation}; give a number that is not negative.")
    if seeds < 2:
        raise RedteamError(f"{seeds} seed shows no scatter; give at least 2.")
