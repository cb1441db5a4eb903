"""The smallest difference that runs can show, and how many runs one needs, against simulation."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from redteam_env import RedteamError
from redteam_env.evaluation.power import (
    POWER,
    compare_runs,
    detectable_difference,
    detectable_mean,
    detection_rate,
    pooled_deviation,
    seeds_needed,
)


def found_in_simulation(difference, deviation, seeds, trials=4000):
    rng = np.random.default_rng(0)
    a = rng.normal(difference, deviation, (trials, seeds))
    b = rng.normal(0.0, deviation, (trials, seeds))
    return float((ttest_ind(a, b, axis=1).pvalue < 0.05).mean())


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_smallest_difference_is_found_eight_times_in_ten(seeds):
    smallest = detectable_difference(0.07, seeds)
    assert found_in_simulation(smallest, 0.07, seeds) == pytest.approx(POWER, abs=0.02)
    assert detection_rate(smallest, 0.07, seeds) == pytest.approx(POWER, abs=1e-6)


@pytest.mark.parametrize(("runs", "level"), [(2, 0.05), (5, 0.05), (10, 0.05), (10, 0.005)])
def test_the_smallest_mean_of_paired_runs_is_found_eight_times_in_ten(runs, level):
    smallest = detectable_mean(0.07, runs, level=level)
    drawn = np.random.default_rng(0).normal(smallest, 0.07, (4000, runs))
    found = float((ttest_1samp(drawn, 0, axis=1).pvalue < level).mean())
    assert found == pytest.approx(POWER, abs=0.02)


def test_a_stricter_level_hides_more_and_one_run_shows_nothing():
    assert detectable_mean(0.1, 10, level=0.01) > detectable_mean(0.1, 10)
    assert detectable_mean(0.0, 10) == 0
    with pytest.raises(RedteamError, match="1 seed"):
        detectable_mean(0.1, 1)
    with pytest.raises(RedteamError, match="deviation is -1"):
        detectable_mean(-1, 5)


def test_more_seeds_show_less_and_more_scatter_hides_more():
    shown = [detectable_difference(0.1, n) for n in (2, 3, 5, 10, 50)]
    assert shown == sorted(shown, reverse=True)
    assert detectable_difference(0.2, 5) == pytest.approx(2 * detectable_difference(0.1, 5))


@pytest.mark.parametrize("difference", [0.02, 0.1, 0.5])
def test_the_number_of_seeds_is_the_fewest_that_suffice(difference):
    seeds = seeds_needed(difference, 0.1)
    assert detection_rate(difference, 0.1, seeds) >= POWER
    assert seeds == 2 or detection_rate(difference, 0.1, seeds - 1) < POWER
    assert found_in_simulation(difference, 0.1, seeds) >= POWER - 0.02


def test_half_of_a_difference_needs_about_four_times_the_seeds():
    assert seeds_needed(detectable_difference(0.1, 20) / 2, 0.1) == pytest.approx(80, abs=4)


def test_no_difference_needs_no_number_of_seeds():
    assert seeds_needed(0.0, 0.1) is None
    assert seeds_needed(1e-9, 0.1) is None
    assert seeds_needed(0.1, 0.0) == 2


def test_runs_are_compared_as_by_welch():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.6, 0.05, 5), rng.normal(0.3, 0.2, 4)
    known = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = compare_runs(a.tolist(), b.tolist())
    assert found.interval.to_json() == pytest.approx([known.low, known.high])
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.told_apart is bool(known.low > 0)
    assert compare_runs(b.tolist(), a.tolist()).difference == -found.difference


def test_equal_runs_are_told_apart_one_time_in_twenty():
    rng = np.random.default_rng(2)
    pairs = rng.normal(size=(2000, 2, 5)).tolist()
    assert np.mean([compare_runs(a, b).told_apart for a, b in pairs]) == pytest.approx(
        0.05, abs=0.015
    )


def test_what_does_not_scatter_is_told_apart_by_any_difference():
    assert compare_runs([0.5, 0.5], [0.4, 0.4]).told_apart
    assert not compare_runs([0.5, 0.5], [0.5, 0.5]).told_apart


def test_one_run_tells_nothing():
    found = compare_runs([0.9], [0.1, 0.2])
    assert (found.interval, found.seeds, found.told_apart) == (None, None, False)
    assert found.to_json()["interval"] is None


@pytest.mark.parametrize("first", [[0.0, 0.0], [0.0, 0.0, 0.01]])
def test_what_is_not_told_apart_needs_more_seeds_than_there_are(first):
    found = compare_runs(first, [0.3, 0.36])
    assert found.told_apart or found.seeds > len(first)
    assert not compare_runs([0.0, 0.0], [0.3, 0.36]).told_apart


def test_the_scatter_is_pooled_within_algorithms():
    rng = np.random.default_rng(3)
    groups = [rng.normal(mean, 0.1, 50).tolist() for mean in (0, 1, 5)]
    assert pooled_deviation(groups) == pytest.approx(0.1, abs=0.015)
    assert pooled_deviation([[0.0, 2.0], [7.0]]) == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: pooled_deviation([[1.0], [2.0]]),
        lambda: compare_runs([], [1.0]),
        lambda: detectable_difference(0.1, 1),
        lambda: detectable_difference(-0.1, 3),
    ],
)
def test_what_cannot_be_answered_is_refused(call):
    with pytest.raises(RedteamError):
        call()
