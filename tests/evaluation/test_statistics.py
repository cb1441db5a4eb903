import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t

from redteam_env.evaluation import (
    Interval,
    Rate,
    clustered_bootstrap,
    paired_difference,
    wilson,
)
from redteam_env.game import RedteamError
from redteam_env.randomness import generator


def expanded(confidence, clusters):
    """Hesterberg's shares (2015, section 4.1) at which a bootstrap's quantiles are taken."""
    tail = norm.cdf(t.ppf((1 - confidence) / 2, clusters - 1) * (clusters / (clusters - 1)) ** 0.5)
    return tail, 1 - tail


@pytest.fixture
def rng():
    return generator((0, "test"))


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (1, 7), (10, 20), (19, 20), (313, 313)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(k, n, confidence):
    expected = binomtest(k, n).proportion_ci(confidence, method="wilson")
    found = wilson(k, n, confidence)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_of_one_half_in_ten_is_the_textbook_value():
    assert wilson(5, 10) == Interval(
        pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4)
    )


@pytest.mark.parametrize("n", [1, 10, 313])
def test_wilson_at_none_and_at_all_is_known(n):
    z2 = norm.ppf(0.975) ** 2
    assert wilson(0, n) == Interval(0.0, pytest.approx(z2 / (n + z2)))
    assert wilson(n, n) == Interval(pytest.approx(n / (n + z2)), 1.0)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_holds_the_rate_and_never_has_width_zero(k, extra):
    n = k + extra
    found = wilson(k, n)
    assert 0 <= found.low < found.high <= 1
    if n:
        assert found.low <= k / n <= found.high


def test_a_rate_is_printed_with_its_interval():
    assert str(Rate(0, 2)) == "0.00 [0.00, 0.66] (n = 2)"
    assert f"{Rate(2, 8)}" == "0.25 [0.07, 0.59] (n = 8)"
    assert str(Rate(0, 0)) == "- (n = 0)"
    assert repr(Rate(0, 2)) == "Rate(k=0, n=2)"


def test_nothing_is_known_without_trials():
    assert wilson(0, 0) == Interval(0.0, 1.0)
    assert Rate(0, 0).value is None
    assert Rate(0, 0).to_json() == {"k": 0, "n": 0, "rate": None, "interval": [0.0, 1.0]}


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_impossible_rates_are_errors(k, n):
    with pytest.raises(RedteamError, match=f"{k} out of {n}"):
        Rate(k, n)


@pytest.mark.parametrize("confidence", [0, 1, 1.5])
def test_confidence_outside_the_open_unit_interval_is_an_error(confidence, rng):
    with pytest.raises(RedteamError, match="confidence"):
        wilson(1, 2, confidence)
    with pytest.raises(RedteamError, match="confidence"):
        clustered_bootstrap([0.0, 1.0], [0, 1], rng, confidence=confidence)


def test_bootstrap_of_three_clusters_equals_full_enumeration(rng):
    values, clusters = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "c", "c", "c"]
    sums, counts = np.array([1.0, 1.0, 1.0]), np.array([2, 1, 3])
    every = [
        sums[list(draw)].sum() / counts[list(draw)].sum()
        for draw in itertools.product(range(3), repeat=3)
    ]
    found = clustered_bootstrap(values, clusters, rng, confidence=0.5, resamples=40_000)
    low, high = np.quantile(every, expanded(0.5, 3))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_copies_of_a_seed_do_not_narrow_the_interval():
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    once = clustered_bootstrap(values, list(range(8)), generator((1,)))
    copied = clustered_bootstrap(values * 50, list(range(8)) * 50, generator((1,)))
    alone = clustered_bootstrap(values * 50, list(range(400)), generator((1,)))
    assert copied == once
    assert alone.high - alone.low < (once.high - once.low) / 3


def test_bootstrap_is_repeatable_from_its_generator():
    values, clusters = [0.0, 1.0, 1.0, 0.5], [0, 1, 2, 3]
    first = clustered_bootstrap(values, clusters, generator((3,)))
    assert clustered_bootstrap(values, clusters, generator((3,))) == first


def test_a_bootstrap_of_many_resamples_finds_the_quantiles_of_all_that_there_are():
    values = [0.0, 1.0, 1.0, 0.5]
    every = [sum(drawn) / 4 for drawn in itertools.product(values, repeat=4)]
    # more numbers than are drawn at a time
    found = clustered_bootstrap(
        values, range(4), generator((3,)), confidence=0.5, resamples=600_000
    )
    assert (found.low, found.high) == tuple(np.quantile(every, expanded(0.5, 4)))


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([], [], "no values"),
        ([1.0], [], "1 values have 0 clusters"),
        ([float("nan")], ["a"], "not finite"),
    ],
)
def test_values_that_have_no_mean_are_errors(values, clusters, message, rng):
    with pytest.raises(RedteamError, match=message):
        clustered_bootstrap(values, clusters, rng)


def test_paired_difference_uses_the_pairing(rng):
    a = [True] * 30 + [False] * 10
    b = [True] * 26 + [False] * 14
    found = paired_difference(a, b, list(range(40)), rng)
    assert found.value == pytest.approx(0.1)
    assert (found.n, found.clusters) == (40, 40)
    # four of forty games differ, all one way: exact binomial proportions of that share
    assert found.interval.low == pytest.approx(0.025, abs=0.026)
    assert found.interval.high == pytest.approx(0.2, abs=0.026)


def test_swapping_the_sides_mirrors_the_difference():
    a, b = [True, True, False, True, False], [False, True, False, False, True]
    one = paired_difference(a, b, list("vwxyz"), generator((5,)))
    other = paired_difference(b, a, list("vwxyz"), generator((5,)))
    assert one.value == -other.value
    assert one.interval.low == pytest.approx(-other.interval.high)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        # Wilson for 0/20 is (0, 0.1611), for 20/20 (0.8389, 1)
        (False, False, -0.1611, 0.1611),
        (True, True, -0.1611, 0.1611),
        (True, False, 1 - 0.2279, 1.0),
        (False, True, -1.0, -1 + 0.2279),
    ],
)
def test_equal_differences_everywhere_do_not_give_certainty(a, b, low, high, rng):
    found = paired_difference([a] * 40, [b] * 40, list(range(20)) * 2, rng)
    assert found.value == a - b
    assert found.clusters == 20
    assert found.interval.low == pytest.approx(low, abs=1e-4)
    assert found.interval.high == pytest.approx(high, abs=1e-4)


def test_no_pairs_leave_the_difference_open(rng):
    found = paired_difference([], [], [], rng)
    assert found.to_json() == {"difference": None, "interval": [-1.0, 1.0], "n": 0, "clusters": 0}


def test_unequal_numbers_of_games_cannot_be_paired(rng):
    with pytest.raises(RedteamError, match="2 games cannot be paired with 1"):
        paired_difference([True, False], [True], ["a", "b"], rng)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1, max_size=30)
)
def test_difference_interval_stays_in_range_and_has_width(games):
    a, b, clusters = zip(*games, strict=True)
    found = paired_difference(a, b, clusters, generator((7,)), resamples=200)
    assert -1 <= found.interval.low < found.interval.high <= 1
