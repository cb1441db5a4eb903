"""Success within k attempts, beside full enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.evaluation.attempts import success_of, success_within
from redteam_env.evaluation.statistics import wilson
from redteam_env.game import RedteamError
from redteam_env.randomness import generator


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_it_is_the_share_of_all_choices_of_k_attempts(outcomes, data):
    k = data.draw(st.integers(1, len(outcomes)))
    chosen = [any(x) for x in itertools.combinations(outcomes, k)]
    assert success_of(sum(outcomes), len(outcomes), k) == pytest.approx(np.mean(chosen))


def test_the_mean_over_drawn_attempts_is_the_true_share():
    # unbiased: all outcomes of 5 attempts, weighted by how likely they are
    p, n, k = 0.3, 5, 2
    every = itertools.product([True, False], repeat=n)
    found = sum(p ** sum(x) * (1 - p) ** (n - sum(x)) * success_of(sum(x), n, k) for x in every)
    assert found == pytest.approx(1 - (1 - p) ** k)


def test_thousands_of_attempts_are_no_trouble():
    assert success_of(1, 10_000, 5_000) == pytest.approx(0.5)


def test_requests_count_alike_however_often_they_were_tried():
    outcomes = [True, False, *[False] * 6]
    found = success_within(outcomes, ["a"] * 2 + ["b"] * 6, 1, generator((0,)))
    assert (found.value, found.requests) == (0.25, 2)


def test_void_attempts_do_not_count_and_requests_with_too_few_are_told():
    outcomes = [True, None, False, False, None, None]
    found = success_within(outcomes, ["a", "a", "b", "b", "c", "c"], 2, generator((0,)))
    assert (found.value, found.requests, found.short) == (0.0, 1, 2)
    assert found.interval == wilson(0, 1)


def test_the_interval_draws_requests_and_never_has_width_zero():
    mixed = success_within([True, False] * 20, np.repeat(range(20), 2).tolist(), 1, generator((0,)))
    every = success_within([True] * 40, np.repeat(range(20), 2).tolist(), 2, generator((0,)))
    assert mixed.interval.low < mixed.value < mixed.interval.high
    assert every.interval.low == pytest.approx(wilson(20, 20).low)
    assert every.interval.high == 1.0
    assert mixed == success_within(
        [True, False] * 20, np.repeat(range(20), 2).tolist(), 1, generator((0,))
    )


def test_nothing_is_known_without_requests():
    found = success_within([], [], 3, generator((0,)))
    assert found.to_json() == {
        "attempts": 3,
        "rate": None,
        "interval": [0.0, 1.0],
        "requests": 0,
        "short": 0,
    }


@pytest.mark.parametrize(("c", "n", "k"), [(3, 2, 1), (-1, 2, 1), (1, 2, 3), (1, 2, 0)])
def test_impossible_counts_are_refused(c, n, k):
    with pytest.raises(RedteamError, match="attempts"):
        success_of(c, n, k)


def test_attempts_without_requests_are_refused():
    with pytest.raises(RedteamError, match="1 attempts have 0 requests"):
        success_within([True], [], 1, generator((0,)))
    with pytest.raises(RedteamError, match="within 0 attempts"):
        success_within([True], ["a"], 0, generator((0,)))
