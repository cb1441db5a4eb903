"""Student's interval of a handful of runs, against SciPy and against what it promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redteam_env.evaluation.run_means import holm, mean_interval, t_test
from redteam_env.game import RedteamError
from redteam_env.randomness import generator

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(VALUES, st.sampled_from([0.8, 0.95, 0.99]))
def test_it_equals_scipy(values, confidence):
    found = mean_interval(values, confidence)
    spread = stats.sem(values)
    if spread < 1e-9:  # SciPy has no interval without spread
        for end in (found.low, found.high):
            assert end == pytest.approx(np.mean(values), abs=1e-7)
        return
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), spread)
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)


def test_two_runs_give_the_textbook_value():
    # t with one degree of freedom at .975 is 12.706; the standard error of 0 and 1 is .5
    found = mean_interval([0.0, 1.0])
    assert found.low == pytest.approx(0.5 - 12.706 / 2, abs=1e-3)
    assert found.high == pytest.approx(0.5 + 12.706 / 2, abs=1e-3)


def test_it_holds_the_mean_of_five_runs_in_95_of_100_cases():
    rng = generator((0, "coverage"))
    held = sum(
        found.low <= 3 <= found.high
        for found in (mean_interval(rng.normal(3, 2, 5).tolist()) for _ in range(2000))
    )
    assert 0.935 < held / 2000 < 0.965


@pytest.mark.parametrize("values", [[], [0.7]])
def test_fewer_than_two_runs_have_none(values):
    assert mean_interval(values) is None


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_is_no_open_share_is_an_error(confidence):
    with pytest.raises(RedteamError, match="confidence"):
        mean_interval([0.0, 1.0], confidence)


@given(VALUES)
def test_the_p_value_equals_scipys(values):
    if stats.sem(values) > 1e-9:
        assert t_test(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)


def test_without_spread_only_zero_may_be_zero():
    assert t_test([0.0, 0.0, 0.0]) == 1
    assert t_test([0.5, 0.5]) == 0
    assert t_test([0.5]) is None


def test_holms_rule_by_hand():
    # .005 * 4, .01 * 3, .03 * 2, and .04 * 1, which may not be below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holms_rule_rejects_a_true_hypothesis_in_at_most_5_of_100_families():
    rng = generator((0, "holm"))
    wrong = sum(min(holm(rng.random(9).tolist())) < 0.05 for _ in range(4000))
    assert wrong / 4000 == pytest.approx(0.05, abs=0.012)
