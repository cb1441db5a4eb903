"""Intervals: for one rate, for a share of clustered outcomes, and for the difference of two rates.

A rate without an interval says nothing about a few dozen games, and games that share a seed are not
independent. So every rate carries a Wilson interval, and every comparison a bootstrap that draws
whole seeds.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redteam_env.evaluation import student
from redteam_env.game import RedteamError

_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        """Return ``[low, high]``."""
        return [self.low, self.high]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of games: ``k`` of ``n``, with its 95 % Wilson interval.

    Attributes:
        k: Games in which it happened.
        n: Games in which it could have happened; games without an answer to the question are in
            neither number.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        _check_counts(self.k, self.n)

    @property
    def value(self) -> float | None:
        """``k / n``, or ``None`` for no games at all."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval."""
        return wilson(self.k, self.n)

    def __str__(self) -> str:
        """Return the rate with its interval, such as ``0.25 [0.07, 0.59] (n = 8)``."""
        if self.value is None:
            return "- (n = 0)"
        low, high = self.interval.low, self.interval.high
        return f"{self.value:.2f} [{low:.2f}, {high:.2f}] (n = {self.n})"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the rate is null where there were no games."""
        return {"k": self.k, "n": self.n, "rate": self.value, "interval": self.interval.to_json()}


@dataclass(frozen=True, slots=True)
class Share:
    """A share of outcomes that come in clusters, with its 95 % interval.

    Attributes:
        k: Outcomes in which it happened.
        n: All outcomes.
        effective: How many independent outcomes would tell as much: ``n`` where no two share a cluster.
    """

    k: int
    n: int
    effective: float

    def __post_init__(self) -> None:
        _check_counts(self.k, self.n)
        if not 0 <= self.effective <= self.n:
            raise RedteamError(
                f"{self.n} outcomes cannot tell as much as {self.effective}; give a number up to {self.n}."
            )

    @property
    def value(self) -> float | None:
        """``k / n``, or ``None`` for no outcomes at all."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval for so many effective outcomes; [0, 1] without any."""
        if not self.n:
            return Interval(0.0, 1.0)
        low, high = _score_limits(self.k / self.n, self.effective, _quantile(0.95))
        return Interval(0.0 if self.k == 0 else low, 1.0 if self.k == self.n else high)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the share is null where there were no outcomes."""
        return {
            "k": self.k,
            "n": self.n,
            "effective": self.effective,
            "rate": self.value,
            "interval": self.interval.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two rates over the same games.

    Attributes:
        value: First rate minus second, in [-1, 1]; ``None`` for no games.
        interval: 95 % unless another confidence was asked for; [-1, 1] for no games.
        n: Games that count in both.
        clusters: Distinct seed prompts among them.
    """

    value: float | None
    interval: Interval
    n: int
    clusters: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the difference is null where there were no games."""
        return {
            "difference": self.value,
            "interval": self.interval.to_json(),
            "n": self.n,
            "clusters": self.clusters,
        }


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a rate.

    It keeps its width at 0 % and 100 %, where the usual normal interval shrinks to a point
    (E. B. Wilson, JASA 22, 1927; recommended by Brown, Cai and DasGupta, Statistical Science 16,
    2001).

    Args:
        k: Number of successes.
        n: Number of trials; with 0 nothing is known and the interval is (0, 1).
        confidence: Coverage, in (0, 1).

    Returns:
        An interval within [0, 1].

    Raises:
        RedteamError: If not 0 <= k <= n or the confidence is out of range.
    """
    _check_counts(k, n)
    z = _quantile(confidence)
    if n == 0:
        return Interval(0.0, 1.0)
    low, high = _score_limits(k / n, n, z)
    return Interval(0.0 if k == 0 else low, 1.0 if k == n else high)


def clustered_bootstrap(
    values: Sequence[float] | np.ndarray[Any, Any],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
) -> Interval:
    """Return the expanded percentile bootstrap interval of a mean, drawing whole clusters.

    Games that share a seed prompt rise and fall together; drawing single games would make the
    interval too narrow (Field and Welsh, JRSS B 69, 2007). Plain percentiles are too narrow for few
    clusters, by the missing degree of freedom and by a normal quantile in place of Student's, so
    quantiles further out are taken (Hesterberg, The American Statistician 69, 2015, section 4.1).
    In simulations of rates from .2 to .8, intervals of 95 % hold the true value in 94 to 96 of 100
    cases from 10 clusters on, where plain percentiles do in 89 to 92. A rate of one in ten needs 40
    clusters or more: with 20 it is 90 to 92.

    Args:
        values: Finite numbers, at least one.
        clusters: The cluster of each value, such as its seed's text.
        rng: Where the draws come from.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap samples.

    Returns:
        The interval. Equal cluster means give one of width 0.

    Raises:
        RedteamError: If there is no value, one is not finite, the lengths differ, or an option is
            out of range.
    """
    sums, counts = _by_cluster(values, clusters)
    tail = expanded_tail(confidence, len(sums))
    if resamples < 1:
        raise RedteamError(f"resamples is {resamples}; draw at least 1.")
    means = np.empty(resamples)
    rows = max(1, _CHUNK // len(sums))
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), len(sums))
        drawn = rng.integers(len(sums), size=size)
        means[start : start + rows] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(low), float(high))


def bootstrap_of(  # noqa: PLR0917 - a figure, what it is of, and how it is drawn
    figure: Callable[[NDArray[Any], NDArray[Any]], float],
    first: NDArray[Any],
    second: NDArray[Any],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> Interval:
    """Return the 95 % interval of a figure of pairs by drawing whole clusters.

    As :func:`clustered_bootstrap` does it for a mean. Draws that have no such figure are left out.

    Args:
        figure: Of the two columns; NaN where they have none.
        first: One column.
        second: The other one.
        clusters: The cluster of each row.
        rng: Where the bootstrap's draws come from.
        resamples: Number of bootstrap samples.

    Returns:
        The interval; [-inf, inf] if no draw has the figure.
    """
    rows: dict[Hashable, list[int]] = {}
    for k, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(k)
    members = [np.array(own) for own in rows.values()]
    found = np.empty(resamples)
    for k in range(resamples):
        drawn = np.concatenate([members[j] for j in rng.integers(len(members), size=len(members))])
        found[k] = figure(first[drawn], second[drawn])
    kept = found[np.isfinite(found)]
    if not len(kept):
        return Interval(-math.inf, math.inf)
    tail = expanded_tail(0.95, len(members))
    low, high = np.quantile(kept, (tail, 1 - tail))
    return Interval(float(low), float(high))


def expanded_tail(confidence: float, clusters: int) -> float:
    """Return the share to cut off on either side of a bootstrap, less for few clusters.

    Plain percentiles of few clusters are too narrow (:func:`clustered_bootstrap`).

    Args:
        confidence: Coverage of the interval, in (0, 1).
        clusters: How many are drawn.
    """
    tail = (1 - checked_confidence(confidence)) / 2
    if clusters < 2:  # all resamples are the same
        return tail
    quantile = student.quantile(clusters - 1, tail) * math.sqrt(clusters / (clusters - 1))
    return NormalDist().cdf(quantile)


def shares_interval(
    shares: Sequence[float],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
) -> Interval:
    """Return the interval of the mean of one share for each seed.

    Seeds are drawn as in :func:`clustered_bootstrap`. Where all have the same share there is nothing
    to draw from, and shares that are all 0 or 1 are a plain rate: then it is the Wilson interval, with one
    trial for each seed.

    Args:
        shares: Numbers in [0, 1], one for each seed.
        rng: Where the bootstrap's draws come from.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap samples.

    Returns:
        The interval; [0, 1] without seeds.

    Raises:
        RedteamError: If a share is out of range, or an option is.
    """
    _check_shares(shares)
    if not shares:
        return wilson(0, 0, confidence)
    if min(shares) < max(shares) and not set(shares) <= {0, 1}:
        return clustered_bootstrap(
            shares, range(len(shares)), rng, confidence=confidence, resamples=resamples
        )
    return wilson_of_shares(shares, trials=len(shares), confidence=confidence)


def wilson_of_shares(
    shares: Sequence[float], *, trials: float, confidence: float = 0.95
) -> Interval:
    """Return Wilson's interval of the mean of one share for each seed.

    Where every share is 0 or 1 it is :func:`wilson`'s, with one trial for each seed. Shares between vary
    less, so they tell as much as more trials: the effective number is found as in :func:`share_of`, from
    the variance between seeds, and lies between the number of seeds and that of the trials. In simulations
    with 6 trials for each of 5 to 40 seeds, intervals of 95 % hold the true value in 94 to 99 of 100 cases;
    with 5 seeds of which most are all or nothing, in 92.

    Args:
        shares: Numbers in [0, 1], one for each seed.
        trials: How many independent outcomes stand behind them all, at most.
        confidence: Coverage, in (0, 1).

    Returns:
        The interval; [0, 1] without seeds.

    Raises:
        RedteamError: If a share is out of range, or the confidence is.
    """
    _check_shares(shares)
    n, z = len(shares), _quantile(confidence)
    if not n:
        return Interval(0.0, 1.0)
    mean, effective = math.fsum(shares) / n, float(n)
    if not all(x in {0, 1} for x in shares):
        spread = math.fsum((x - mean) ** 2 for x in shares) / max(1, n - 1) / n
        if spread:
            t = student.quantile(n - 1, 0.5 + confidence / 2)
            effective = min(max(n, trials), max(n, mean * (1 - mean) / spread * (z / t) ** 2))
    low, high = _score_limits(mean, effective, z)
    return Interval(0.0 if mean == 0 else min(low, mean), 1.0 if mean == 1 else max(high, mean))


def share_of(outcomes: Sequence[bool], clusters: Sequence[Hashable]) -> Share:
    """Return a share of outcomes that come in clusters, such as answers to the same prompt.

    Its effective number of outcomes is their number over the design effect, the ratio of the variance
    between clusters to that of independent outcomes, made smaller for few clusters by Student's
    quantile. Wilson's interval with it does well with clustered samples (Franco, Little, Louis and Slud,
    Journal of Survey Statistics and Methodology 7, 2019; the adjustment is that of Korn and Graubard,
    1998). Where all outcomes are alike, each cluster counts as one.

    Args:
        outcomes: Whether it happened.
        clusters: The cluster of each.

    Raises:
        RedteamError: If the lengths differ.
    """
    k, n = sum(map(bool, outcomes)), len(outcomes)
    if not n:
        return Share(0, 0, 0.0)
    sums, counts = _by_cluster(np.asarray(outcomes, dtype=float), clusters)
    size, p = len(sums), k / n
    if size == n:
        return Share(k, n, float(n))
    if k in {0, n} or size == 1:
        return Share(k, n, float(size))
    spread = float(((sums - p * counts) ** 2).sum()) * size / (size - 1) / n**2
    effective = p * (1 - p) / spread if spread else float(n)
    effective *= (student.quantile(n - 1, 0.975) / student.quantile(size - 1, 0.975)) ** 2
    return Share(k, n, min(float(n), max(1.0, effective)))


def paired_difference(
    a: Sequence[bool],
    b: Sequence[bool],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
) -> Difference:
    """Return rate ``a`` minus rate ``b`` on the same games, with an interval clustered by seed.

    The bootstrap draws seeds with both outcomes of their games. Where every seed shows the same
    difference it has nothing to draw from and would claim certainty: there the interval is
    Newcombe's hybrid of the two Wilson intervals, with one trial for each seed (method 10 without
    its correlation term; Statistics in Medicine 17, 1998).

    Args:
        a: Outcome of each game under the first condition.
        b: Outcome of the same games under the second.
        clusters: The seed prompt of each game.
        rng: Where the draws come from.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap samples.

    Returns:
        The difference; for no games ``None`` with the interval (-1, 1).

    Raises:
        RedteamError: If the lengths differ or an option is out of range.
    """
    if len(a) != len(b):
        raise RedteamError(f"{len(a)} games cannot be paired with {len(b)}; play the same seeds.")
    if not len(a):
        return Difference(None, Interval(-1.0, 1.0), n=0, clusters=0)
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    sums, counts = _by_cluster(first - second, clusters)
    if np.ptp(sums / counts) > 0:
        interval = clustered_bootstrap(
            first - second, clusters, rng, confidence=confidence, resamples=resamples
        )
    else:
        interval = _newcombe(
            float(first.mean()), float(second.mean()), len(sums), _quantile(confidence)
        )
    value = float((first - second).mean())
    return Difference(value, interval, n=len(a), clusters=len(sums))


def _newcombe(p: float, q: float, n: int, z: float) -> Interval:
    p_low, p_high = _score_limits(p, n, z)
    q_low, q_high = _score_limits(q, n, z)
    below = math.hypot(p - p_low, q_high - q)
    above = math.hypot(p_high - p, q - q_low)
    return Interval(max(-1.0, p - q - below), min(1.0, p - q + above))


def _score_limits(p: float, n: float, z: float) -> tuple[float, float]:
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _by_cluster(
    values: Sequence[float] | np.ndarray[Any, Any], clusters: Sequence[Hashable]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the sum of the values and their number in each cluster."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) != len(clusters):
        raise RedteamError(f"{len(numbers)} values have {len(clusters)} clusters; give one each.")
    if not len(numbers):
        raise RedteamError("There are no values to take a mean of; give at least one.")
    if not np.isfinite(numbers).all():
        raise RedteamError("A value is not finite; leave out games without an outcome.")
    codes: dict[Hashable, int] = {}
    index = np.array([codes.setdefault(cluster, len(codes)) for cluster in clusters])
    return np.bincount(index, weights=numbers), np.bincount(index)


def _check_shares(shares: Sequence[float]) -> None:
    wrong = [x for x in shares if not 0 <= x <= 1]
    if wrong:
        raise RedteamError(f"A share is {wrong[0]}; give numbers from 0 to 1.")


def _check_counts(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise RedteamError(f"A rate of {k} out of {n} is impossible; give 0 <= k <= n.")


def checked_confidence(confidence: float) -> float:
    """Return a coverage that an interval can have.

    Raises:
        RedteamError: If it is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise RedteamError(f"confidence is {confidence}; give a share between 0 and 1.")
    return confidence


def _quantile(confidence: float) -> float:
    """Return the normal quantile that leaves the given share in the middle."""
    return NormalDist().inv_cdf(0.5 + checked_confidence(confidence) / 2)
