"""The expected calibration error, by hand and by what its interval promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.evaluation.reliability import calibration_error, calibration_error_interval


def test_the_calibration_error_by_hand():
    # bins .2-.3: said .25, true 1/2; .9-1: said .95 and 1, true 1
    scores, truths = np.array([0.25, 0.25, 0.95, 1.0]), np.array([True, False, True, True])
    expected = (2 * abs(0.25 - 0.5) + 2 * abs(0.975 - 1.0)) / 4
    assert calibration_error(scores, truths) == pytest.approx(expected)


def test_scores_that_are_right_on_average_have_next_to_no_error():
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    assert calibration_error(scores, rng.random(200_000) < scores) < 0.01
    assert calibration_error(scores, rng.random(200_000) < scores**2) > 0.1


@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40
    ),
    seed=st.integers(0, 100),
)
def test_the_interval_holds_the_error_that_it_is_of(rows, seed):
    scores, truths, clusters = map(list, zip(*rows, strict=True))
    columns = np.array(scores), np.array(truths)
    rng = np.random.default_rng(seed)
    found = calibration_error_interval(*columns, clusters, rng, resamples=200)
    assert 0 <= found.low <= calibration_error(*columns) <= found.high <= 1


@pytest.mark.parametrize("answers", [40, 200])
def test_a_perfect_judge_may_have_no_error(answers):
    # every sample of it has one, and every bootstrap draw of that a larger one
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.random(answers)
        truths = rng.random(answers) < scores
        assert calibration_error(scores, truths) > 0
        found = calibration_error_interval(scores, truths, range(answers), rng)
        held += found.low == 0
    assert held >= 17


def test_an_error_without_doubt_is_told_from_none():
    rng = np.random.default_rng(0)
    scores = rng.random(2000)
    found = calibration_error_interval(scores, rng.random(2000) < scores**2, range(2000), rng)
    assert 0.1 < found.low < found.high < 0.25


def test_labels_that_are_all_alike_are_no_certainty():
    rng = np.random.default_rng(0)
    found = calibration_error_interval(np.full(10, 0.9), np.full(10, True), range(10), rng)
    assert found.low < 0.05
    assert found.high > 0.15


def test_many_answers_to_few_prompts_tell_less():
    rng = np.random.default_rng(0)
    scores = np.round(rng.random(400), 1)
    truths = np.repeat(rng.random(20) < 0.5, 20)
    alone = calibration_error_interval(scores, truths, range(400), np.random.default_rng(1))
    shared = [k // 20 for k in range(400)]
    clustered = calibration_error_interval(scores, truths, shared, np.random.default_rng(1))
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
