import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from redteam_env import RedteamError
from redteam_env.evaluation.aggregates import (
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from redteam_env.randomness import generator

FINITE = st.floats(-10, 10, allow_nan=False)


def iqm(values):
    """The interquartile mean of one run's scores."""
    return aggregate([values], rng()).value


def rng():
    return generator(("test", "aggregates"))


@given(st.lists(FINITE, min_size=1, max_size=10).map(lambda x: x * 4))
def test_iqm_equals_the_quarter_trimmed_mean_where_quarters_are_whole(values):
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25), abs=1e-9)


def test_iqm_weighs_scores_that_a_quartile_cuts():
    # of five, each a fifth: the middle one whole, its neighbours by 0.15 of 0.2
    assert iqm([0, 1, 2, 5, 100]) == pytest.approx((0.15 * 1 + 0.2 * 2 + 0.15 * 5) / 0.5)


def test_iqm_is_not_moved_by_an_outlier_as_the_mean_is():
    assert iqm([0.5] * 7 + [1e9]) == 0.5


@given(st.lists(FINITE, min_size=1, max_size=12), st.randoms())
def test_iqm_does_not_depend_on_the_order(values, random):
    shuffled = values[:]
    random.shuffle(shuffled)
    assert iqm(shuffled) == pytest.approx(iqm(values), abs=1e-9)


def test_a_single_run_has_no_interval():
    found = aggregate([[0.1, 0.9]], rng())
    assert found.interval is None
    assert (found.runs, found.tasks) == (1, 2)


def test_the_interval_draws_whole_runs():
    # two tasks that cancel within every run: drawn by runs, the mean never varies
    scores = [[0.0, 1.0], [1.0, 0.0], [0.2, 0.8]]
    found = aggregate(scores, rng(), statistic=lambda x: x.mean(axis=-1))
    assert found.interval.low == pytest.approx(0.5)
    assert found.interval.high == pytest.approx(0.5)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    draws = generator(("coverage",))
    hits = 0
    for _ in range(200):
        scores = draws.normal(size=(12, 1))
        found = aggregate(scores, draws, statistic=lambda x: x.mean(axis=-1), resamples=200)
        hits += found.interval.low <= 0 <= found.interval.high
    assert 170 <= hits <= 198


def test_the_same_generator_gives_the_same_interval():
    scores = generator(("scores",)).random((5, 3))
    assert aggregate(scores, rng()) == aggregate(scores, rng())


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    a, b = generator(("a",)).random(6), generator(("b",)).random(5)
    found = probability_of_improvement(a[:, None], b[:, None], rng())
    assert found.value == pytest.approx(mannwhitneyu(a, b).statistic / 30)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=5),
    st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=5),
)
def test_improvement_of_a_over_b_and_of_b_over_a_add_up_to_one(a, b):
    forward = probability_of_improvement(a, b, rng(), resamples=10)
    backward = probability_of_improvement(b, a, rng(), resamples=10)
    assert forward.value + backward.value == pytest.approx(1)
    assert 0 <= forward.interval.low <= forward.interval.high <= 1


def test_equal_runs_improve_with_probability_one_half():
    scores = [[0.3, 0.4]] * 3
    assert probability_of_improvement(scores, scores, rng()).value == 0.5


def test_a_profile_counts_scores_above_each_threshold():
    assert performance_profile([[0.1, 0.5], [0.5, 0.9]], [0.0, 0.5, 1.0]) == [1.0, 0.25, 0.0]


@pytest.mark.parametrize(
    ("scores", "says"),
    [([], "no scores"), ([[np.nan]], "nan"), ([0.5], "rows and columns")],
)
def test_a_table_that_is_none_is_refused(scores, says):
    with pytest.raises(RedteamError, match=says):
        aggregate(scores, rng())


def test_runs_on_different_tasks_are_not_compared():
    with pytest.raises(RedteamError, match="same ones"):
        probability_of_improvement([[1.0]], [[1.0, 2.0]], rng())


def test_confidence_and_resamples_are_checked():
    with pytest.raises(RedteamError, match="confidence"):
        aggregate([[0.0], [1.0]], rng(), confidence=1.0)
    with pytest.raises(RedteamError, match="resamples"):
        aggregate([[0.0], [1.0]], rng(), resamples=0)
