"""The ROC curve against its definitions: pairs counted one by one, points worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.evaluation.detection import roc
from redteam_env.game import RedteamError

SCORES = st.one_of(
    st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
REQUESTS = st.tuples(
    st.lists(SCORES, min_size=1, max_size=30), st.lists(SCORES, min_size=1, max_size=30)
)
SHARES = st.floats(0, 1)


def curve_of(harmful, benign):
    return roc([*harmful, *benign], [True] * len(harmful) + [False] * len(benign))


def refused_above(scores, threshold):
    return sum(x >= threshold for x in scores) / len(scores)


@given(REQUESTS)
def test_the_area_is_the_share_of_pairs_in_the_right_order_ties_counted_half(groups):
    harmful, benign = groups
    won = sum((a > b) + (a == b) / 2 for a in harmful for b in benign)
    assert curve_of(harmful, benign).auc == pytest.approx(won / len(harmful) / len(benign))


@given(REQUESTS)
def test_the_order_of_requests_does_not_matter(groups):
    harmful, benign = groups
    pairs = [(x, True) for x in harmful] + [(x, False) for x in benign]
    one, other = (roc(*map(list, zip(*x, strict=True))) for x in (pairs, pairs[::-1]))
    np.testing.assert_array_equal(one.caught, other.caught)
    np.testing.assert_array_equal(one.over_refusal, other.over_refusal)


@given(REQUESTS, SHARES)
def test_the_miss_rate_is_the_best_that_thresholds_and_chance_between_them_reach(groups, limit):
    """No mixture of two neighbouring thresholds within the limit misses less, and one reaches it."""
    harmful, benign = groups
    found = curve_of(harmful, benign).miss_at(limit)
    cuts = [math.inf, *sorted({*harmful, *benign}, reverse=True)]
    points = [(refused_above(benign, t), 1 - refused_above(harmful, t)) for t in cuts]
    best = min(miss for cost, miss in points if cost <= limit)
    for (a, x), (b, y) in itertools.pairwise(points):
        if a <= limit < b:
            best = min(best, x + (limit - a) / (b - a) * (y - x))
    assert found == pytest.approx(best)


@given(REQUESTS)
def test_refusing_more_benign_requests_never_misses_more(groups):
    curve = curve_of(*groups)
    missed = [curve.miss_at(x) for x in np.linspace(0, 1, 23)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(missed))
    assert missed[-1] == 0


def test_a_curve_worked_out_by_hand():
    # thresholds 5, 4, 3 (a tie of both labels), 2, 1
    curve = curve_of([5, 4, 3, 1], [3, 3, 2, 1])
    assert curve.caught.tolist() == [0, 0.25, 0.5, 0.75, 0.75, 1]
    assert curve.over_refusal.tolist() == [0, 0, 0, 0.5, 0.75, 1]
    wanted = {0: 0.5, 0.25: 0.375, 0.5: 0.25, 0.6: 0.25, 0.75: 0.25, 0.875: 0.125, 1: 0}
    for limit, miss in wanted.items():
        assert curve.miss_at(limit) == pytest.approx(miss), limit
    assert curve.auc == pytest.approx(11.5 / 16)


@pytest.mark.parametrize(
    ("harmful", "benign", "auc", "missed"),
    [
        ([2, 3], [0, 1], 1.0, [0, 0, 0]),
        ([0, 1], [2, 3], 0.0, [1, 1, 0]),
        ([7, 7], [7, 7], 0.5, [1, 0.5, 0]),
    ],
)
def test_perfect_inverted_and_constant_scores(harmful, benign, auc, missed):
    curve = curve_of(harmful, benign)
    assert curve.auc == auc
    assert [curve.miss_at(x) for x in (0, 0.5, 1)] == missed


def test_truth_values_of_stored_tables_are_read_as_they_are():
    """Tables give object arrays; ``np.False_`` and ``False`` are both benign."""
    labels = np.array([True, np.False_, np.True_, False], dtype=object)
    assert roc(np.array([3.0, 2.0, 1.0, 0.0]), labels).auc == 0.75


@pytest.mark.parametrize(
    ("scores", "harmful", "message"),
    [
        ([1.0, 2.0], [True], r"\(2,\).*\(1,\)"),
        ([[1.0, 2.0]], [[True, False]], r"\(1, 2\)"),
        ([1.0, math.nan, math.inf], [True, False, True], "2 scores are not finite"),
        ([1.0, 2.0], [True, True], "2 harmful and 0 benign"),
        ([1.0, 2.0], [False, False], "0 harmful and 2 benign"),
        ([], [], "0 harmful and 0 benign"),
    ],
)
def test_what_has_no_curve_is_an_error_that_says_why(scores, harmful, message):
    with pytest.raises(RedteamError, match=message):
        roc(scores, harmful)


@pytest.mark.parametrize("limit", [-0.01, 1.01, math.nan])
def test_an_over_refusal_that_is_no_share_is_an_error(limit):
    with pytest.raises(RedteamError, match=r"over_refusal is .*\[0, 1\]"):
        curve_of([1], [0]).miss_at(limit)
