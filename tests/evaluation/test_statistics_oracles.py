"""Our statistics beside those of rliable, statsmodels and SciPy, which were written by others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redteam_env.evaluation.aggregates import (
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from redteam_env.evaluation.detection import roc
from redteam_env.evaluation.power import (
    compare_runs,
    detectable_difference,
    detectable_mean,
    detection_rate,
    seeds_needed,
)
from redteam_env.evaluation.run_means import holm, mean_interval, t_test
from redteam_env.evaluation.statistics import (
    clustered_bootstrap,
    paired_difference,
    wilson,
)

metrics = pytest.importorskip("rliable.metrics")
multitest = pytest.importorskip("statsmodels.stats.multitest")
power = pytest.importorskip("statsmodels.stats.power")
proportion = pytest.importorskip("statsmodels.stats.proportion")
weights = pytest.importorskip("statsmodels.stats.weightstats")

DRAWS = 40_000
"""Of a bootstrap that is compared with another one: both then err by far less than a hundredth."""


def rng(seed=0):
    return np.random.default_rng(seed)


def scores(runs, tasks, seed=0, ties=False):
    drawn = rng(seed).normal(size=(runs, tasks)) + np.arange(tasks)
    return np.round(drawn) if ties else drawn


@pytest.mark.parametrize("shape", [(4, 1), (2, 6), (5, 4), (8, 3)])
def test_rliable_has_the_same_interquartile_mean(shape):
    table = scores(*shape)
    assert aggregate(table, rng()).value == pytest.approx(metrics.aggregate_iqm(table))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shapes", [((5, 3), (5, 3)), ((4, 2), (7, 2)), ((3, 1), (3, 1))])
def test_rliable_has_the_same_probability_of_improvement(shapes, ties):
    one, other = (scores(*shape, seed=k, ties=ties) for k, shape in enumerate(shapes))
    expected = metrics.probability_of_improvement(one, other)
    assert probability_of_improvement(one, other, rng()).value == pytest.approx(expected)


def test_scipys_bootstrap_of_runs_has_the_same_intervals():
    # of one task, where drawing runs within each task is drawing rows
    one, other = scores(12, 1), scores(9, 1, seed=1)
    for ours, data, statistic in (
        (aggregate(one, rng(), resamples=DRAWS), (one[:, 0],), metrics.aggregate_iqm),
        (
            probability_of_improvement(one, other, rng(), resamples=DRAWS),
            (one[:, 0], other[:, 0]),
            lambda a, b: metrics.probability_of_improvement(a[:, None], b[:, None]),
        ),
    ):
        found = stats.bootstrap(
            data, statistic, vectorized=False, n_resamples=4000, method="percentile", rng=rng(1)
        ).confidence_interval
        assert (ours.interval.low, ours.interval.high) == pytest.approx(found, abs=0.05)


def test_scipys_survival_function_is_the_same_profile():
    table = scores(6, 3)
    grid = np.linspace(-1, 4, 9)
    expected = stats.ecdf(table.ravel()).sf.evaluate(grid)
    assert performance_profile(table, grid) == pytest.approx(expected)


def test_scipys_bootstrap_of_clusters_has_the_same_interval():
    values = rng().normal(size=60) + np.repeat(rng(1).normal(size=20), 3)
    clusters = np.repeat(np.arange(20), 3)
    ours = clustered_bootstrap(values, clusters, rng(2), resamples=DRAWS)
    expanded = stats.norm.cdf(stats.t.ppf(0.975, 19) * (20 / 19) ** 0.5)
    found = stats.bootstrap(
        (values.reshape(20, 3).mean(axis=1),),
        np.mean,
        n_resamples=DRAWS,
        method="percentile",
        confidence_level=2 * expanded - 1,
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(found, abs=0.02)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_statsmodels_has_the_same_wilson_interval(n, data, confidence):
    k = data.draw(st.integers(0, n))
    found = wilson(k, n, confidence)
    expected = proportion.proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 10, 60])
def test_statsmodels_has_the_same_newcombe_interval(n):
    # where every seed shows the same difference
    for a, b in ((True, False), (True, True), (False, False)):
        found = paired_difference([a] * n, [b] * n, range(n), rng()).interval
        expected = proportion.confint_proportions_2indep(
            a * n, n, b * n, n, method="newcomb", compare="diff"
        )
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_statsmodels_has_the_same_adjusted_p_values(n):
    p_values = np.round(rng(n).random(n) ** 2, 2).tolist()  # some of them equal
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected.tolist())


@pytest.mark.parametrize("n", [2, 5, 30])
def test_statsmodels_has_the_same_students_test_and_interval(n):
    values = rng(n).normal(0.4, 1.3, size=n)
    described = weights.DescrStatsW(values)
    assert t_test(values) == pytest.approx(described.ttest_mean(0)[1])
    for confidence in (0.8, 0.95):
        found = mean_interval(values, confidence)
        expected = described.tconfint_mean(alpha=1 - confidence)
        assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [(2, 2), (5, 5), (4, 11)])
def test_statsmodels_has_the_same_welch_interval(sizes):
    one, other = (rng(k).normal(k, 1 + k, size=n) for k, n in enumerate(sizes))
    found = compare_runs(one, other).interval
    pair = weights.CompareMeans(weights.DescrStatsW(one), weights.DescrStatsW(other))
    assert (found.low, found.high) == pytest.approx(pair.tconfint_diff(usevar="unequal"))


@pytest.mark.parametrize("seeds", [2, 5, 10, 40])
def test_statsmodels_finds_the_same_differences_as_often(seeds):
    theirs = power.TTestIndPower()
    for effect in (0.3, 1.0, 2.0):
        expected = theirs.power(effect, seeds, alpha=0.05)
        assert detection_rate(3 * effect, 3.0, seeds) == pytest.approx(expected, abs=1e-6)
    expected = theirs.solve_power(nobs1=seeds, alpha=0.05, power=0.8)
    assert detectable_difference(3.0, seeds) / 3.0 == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("effect", [0.4, 0.9, 1.5])
def test_statsmodels_needs_the_same_number_of_seeds(effect):
    expected = power.TTestIndPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
    assert seeds_needed(effect, 1.0) == int(np.ceil(expected))


# for 3 runs at the level .01 statsmodels' answer is found 78.7 times in 100, by quadrature and by drawing
@pytest.mark.parametrize(("runs", "level"), [(3, 0.05), (10, 0.05), (25, 0.05), (10, 0.01)])
def test_statsmodels_finds_the_same_means_of_pairs(runs, level):
    expected = power.TTestPower().solve_power(nobs=runs, alpha=level, power=0.8)
    assert detectable_mean(2.0, runs, level=level) / 2.0 == pytest.approx(float(expected), rel=1e-3)


def test_scipys_mann_whitney_statistic_is_the_area_under_the_curve():
    found = np.round(rng().normal(size=80), 1)
    harmful = rng(1).random(80) < 0.4
    pairs = harmful.sum() * (~harmful).sum()
    expected = stats.mannwhitneyu(found[harmful], found[~harmful]).statistic / pairs
    assert roc(found, harmful).auc == pytest.approx(expected)
