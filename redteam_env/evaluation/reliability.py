"""How far a judge's probabilities are from the share that comes true: the expected calibration error.

Scores are put into bins of equal width. The error is the sum over bins of how far the scores in a bin are
from the labels in it, per dialogue (Guo et al. 2017, arXiv 1706.04599). Chance adds to it: the probabilities
of a perfect judge have an error above 0 in every sample, and in every bootstrap draw of it an even larger one,
so percentiles of the bootstrap may lie above the estimate. The interval here allows for both.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redteam_env.evaluation.statistics import Interval, expanded_tail

BINS = 10
"""Of the scores, by which the calibration error is measured."""

Scores = NDArray[np.float64]
Truths = NDArray[np.bool_]


def calibration_error(scores: Scores, truths: Truths) -> float:
    """Return the expected calibration error: how far scores are from the share that is true, on average.

    Args:
        scores: Probabilities in [0, 1], at least one.
        truths: Whether each came true.
    """
    return float(np.abs(_gaps(scores, truths)).sum() / len(scores))


def calibration_error_interval(
    scores: Scores,
    truths: Truths,
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
) -> Interval:
    """Return the 95 % interval of the expected calibration error, drawing whole clusters.

    The error is a sum of absolute values of means, the gaps of the bins, so it has a kink where a gap is 0,
    and there percentiles of its bootstrap fail. The lower limit is that of Fang and Santos (Review of
    Economic Studies 86, 2019): the gaps are drawn, and their deviations are added up with the sign of the
    gap where this is clear (above ``sqrt(log clusters)`` standard errors), else as absolute values. The upper
    limit adds them up with their signs in all bins, which is on the safe side as the error is convex in
    the gaps. A bin whose labels are all alike has no spread to draw: it is given that of a share
    with one success and one failure added.

    Args:
        scores: Probabilities in [0, 1], at least one.
        truths: Whether each came true.
        clusters: The cluster of each, such as its prompt.
        rng: Where the draws come from.
        resamples: Number of bootstrap samples.

    Returns:
        The interval, within [0, 1]; it holds :func:`calibration_error` of the same scores.
    """
    codes: dict[Hashable, int] = {}
    index = np.array([codes.setdefault(cluster, len(codes)) for cluster in clusters])
    size = len(codes)
    gaps = np.zeros((size, BINS))
    np.add.at(gaps, (index, _bins(scores)), scores - truths)
    counts = np.bincount(index, minlength=size)
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    means = gaps.sum(axis=0) / len(scores)
    deviations = drawn @ gaps / (drawn @ counts)[:, None] - means
    deviations += rng.standard_normal(deviations.shape) * _unseen(scores, truths, index)
    spread = deviations.std(axis=0)
    clear = np.abs(means) > math.sqrt(math.log(max(size, 2))) * spread
    signed = deviations * np.sign(means)
    tail = expanded_tail(0.95, size)
    error = float(np.abs(means).sum())
    most = float(np.quantile(np.where(clear, signed, np.abs(deviations)).sum(axis=1), 1 - tail))
    least = float(np.quantile(signed.sum(axis=1), tail))
    return Interval(
        max(0.0, error - max(0.0, most)),
        max(error, min(1.0, error - min(0.0, least))),
    )


def _bins(scores: Scores) -> NDArray[np.intp]:
    return np.minimum((scores * BINS).astype(np.intp), BINS - 1)


def _gaps(scores: Scores, truths: Truths) -> NDArray[Any]:
    """Return for each bin the sum of its scores minus that of its labels."""
    return np.bincount(_bins(scores), weights=scores - truths, minlength=BINS)


def _unseen(scores: Scores, truths: Truths, index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the standard error of the gap of each bin whose labels are all alike, 0 for the others."""
    places = _bins(scores)
    errors = np.zeros(BINS)
    for place in np.unique(places):
        own = places == place
        if truths[own].all() or not truths[own].any():
            n = len(np.unique(index[own])) + 2
            p = 1 / n
            errors[place] = own.sum() / len(scores) * math.sqrt(p * (1 - p) / n)
    return errors
