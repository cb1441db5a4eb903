"""Whether attack success fell, rose and fell again: on curves whose answer is known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.studies.quickstart.race import LEAST, SHORTEST, race_of, smoothed, turns


def line(*points, steps=90):
    """A curve through points (step, value), straight between them."""
    at, values = zip(*points, strict=True)
    return np.interp(range(1, steps + 1), at, values).tolist()


FALL = line((1, 0.5), (15, 0.02), (90, 0.03))
RACE = line((1, 0.5), (17, 0.02), (47, 0.48), (87, 0.03), (90, 0.03))
RISE = line((1, 0.5), (17, 0.02), (60, 0.4), (90, 0.4))
TWO = line((1, 0.6), (15, 0.0), (30, 0.5), (45, 0.0), (60, 0.5), (90, 0.0))


@pytest.mark.parametrize(
    ("curve", "happened", "said"),
    [
        (FALL, (True, False, False), "did not rise by 0.15 again"),
        (RISE, (True, True, False), "did not fall by 0.15 again"),
        (RACE, (True, True, True), "fell again to"),
        (TWO, (True, True, True), "then"),
        ([0.4] * 90, (False, False, False), "did not fall by 0.15 in 90 steps"),
        (line((1, 0.1), (90, 0.9)), (False, False, False), "did not fall"),
        (RACE[: SHORTEST - 1], (False, False, False), "too few"),
        ([0.6, 0.6, 0.0, 0.0, 0.6, 0.6, 0.0], (False, False, False), "too few"),
        ([], (False, False, False), "too few"),
    ],
)
def test_each_curve_is_called_what_it_is(curve, happened, said):
    race = race_of(curve)
    assert (race.fell, race.rose, race.fell_again) == happened
    assert said in race.sentence()


def test_the_turns_are_where_the_curve_turns():
    start, low, height, end = race_of(RACE).turns
    assert start.step == 1
    assert (low.step, height.step) == pytest.approx((17, 47), abs=1)
    assert end.step >= 85
    assert height.value == pytest.approx(0.48, abs=0.05)


def test_a_rise_just_below_the_least_does_not_count():
    for size, counts in ((LEAST - 0.01, False), (LEAST + 0.01, True)):
        curve = [0.5, 0.0, size, 0.0]
        assert (len(turns(curve)) == 4) is counts


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_the_luck_of_24_games_a_step_is_hardly_ever_a_race(share):
    draws = np.random.default_rng(0).binomial(24, share, (200, 90)) / 24
    assert sum(race_of(draw.tolist()).fell_again for draw in draws) <= 4


def test_the_luck_of_24_games_a_step_hides_no_race():
    draws = np.random.default_rng(0).binomial(24, RACE, (200, 90)) / 24
    assert all(race_of(draw.tolist()).fell_again for draw in draws)


def test_steps_without_games_are_left_out():
    gaps = [None if k % 3 else x for k, x in enumerate(RACE)]
    assert race_of(gaps).fell_again
    assert smoothed([None] * 5) == [None] * 5
    assert race_of([None] * 90).turns == []


@given(st.lists(st.floats(0, 1), max_size=60))
def test_turns_alternate_and_are_far_enough_apart(curve):
    found = turns(curve)
    steps = [x.step for x in found]
    assert steps == sorted(set(steps))
    for k, (a, b) in enumerate(pairwise(found)):
        assert (a.value - b.value) * (-1) ** k >= LEAST
    assert all(curve[x.step - 1] == x.value for x in found)
