"""How often intervals hold the true value, by drawing thousands of samples from known ones."""

import numpy as np
import pytest

from redteam_env.evaluation.attempts import success_within
from redteam_env.evaluation.correction import rogan_gladen
from redteam_env.evaluation.reliability import calibration_error, calibration_error_interval
from redteam_env.evaluation.statistics import (
    Share,
    clustered_bootstrap,
    share_of,
    shares_interval,
    wilson,
)

pytestmark = pytest.mark.slow

TRIALS = 2000
RESAMPLES = 1000


def seeds_of_games(rng, seeds, games, mean, spread):
    """Outcomes of games on seeds, some easier than others, with the seed of each."""
    chances = rng.beta(mean * spread, (1 - mean) * spread, size=seeds)
    each = rng.integers(1, games + 1, size=seeds)
    outcomes = rng.random(each.sum()) < np.repeat(chances, each)
    return outcomes.astype(float), np.repeat(np.arange(seeds), each)


@pytest.mark.parametrize(
    ("seeds", "games", "mean"), [(10, 4, 0.5), (20, 4, 0.3), (40, 8, 0.3), (40, 4, 0.7)]
)
def test_the_clustered_bootstrap_holds_the_true_rate_as_often_as_it_says(seeds, games, mean):
    rng = np.random.default_rng(seeds + games)
    held = 0
    for _ in range(TRIALS):
        outcomes, of = seeds_of_games(rng, seeds, games, mean, spread=4)
        found = clustered_bootstrap(outcomes, of.tolist(), rng, resamples=RESAMPLES)
        held += found.low <= mean <= found.high
    assert 0.93 <= held / TRIALS <= 0.97


@pytest.mark.parametrize(("seeds", "k"), [(20, 1), (40, 3), (20, 6)])
def test_success_within_k_attempts_has_a_true_interval(seeds, k):
    rng = np.random.default_rng(k)
    truth = 1 - np.prod([(2.8 + x) / (4 + x) for x in range(k)])  # E(1 - p)^k of the beta below
    held = 0
    for _ in range(TRIALS):
        chances = rng.beta(1.2, 2.8, size=seeds)
        outcomes = (rng.random((seeds, 6)) < chances[:, None]).tolist()
        found = success_within(outcomes, k)
        held += found.interval.low <= truth <= found.interval.high
    assert 0.93 <= held / TRIALS <= 0.97


def test_shares_that_are_all_or_nothing_have_wilsons_interval_and_its_coverage():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(TRIALS):
        shares = (rng.random(15) < 0.95).astype(float).tolist()
        found = shares_interval(shares, rng, resamples=RESAMPLES)
        assert found == wilson(int(sum(shares)), 15)
        held += found.low <= 0.95 <= found.high
    assert held / TRIALS > 0.94  # exactly, it is .964


@pytest.mark.parametrize(("seeds", "games", "mean"), [(20, 4, 0.3), (60, 8, 0.1), (100, 3, 0.9)])
def test_a_share_in_clusters_has_a_true_interval(seeds, games, mean):
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(TRIALS):
        outcomes, of = seeds_of_games(rng, seeds, games, mean, spread=4)
        found = share_of(outcomes.astype(bool).tolist(), of.tolist()).interval
        held += found.low <= mean <= found.high
    assert 0.93 <= held / TRIALS <= 0.97


@pytest.mark.parametrize("truth", [0.05, 0.4])
def test_corrected_rates_have_a_true_interval_where_prompts_repeat(truth):
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(TRIALS):
        sensitivity, specificity = (
            share_of(x.astype(bool).tolist(), of.tolist())
            for mean in (0.85, 0.9)
            for x, of in (seeds_of_games(rng, 60, 4, mean, spread=8),)
        )
        raw = int(rng.binomial(200, truth * 0.85 + (1 - truth) * 0.1))
        found = rogan_gladen(Share(raw, 200, 200.0), sensitivity, specificity)
        held += found.interval.low <= truth <= found.interval.high
    assert held / TRIALS > 0.93


@pytest.mark.parametrize(("n", "p"), [(20, 0.05), (40, 0.3), (200, 0.5)])
def test_wilson_holds_the_true_rate_as_often_as_it_says(n, p):
    rng = np.random.default_rng(n)
    found = [wilson(int(k), n) for k in rng.binomial(n, p, size=TRIALS)]
    assert np.mean([x.low <= p <= x.high for x in found]) > 0.92


@pytest.mark.parametrize("answers", [100, 400])
@pytest.mark.parametrize("power", [1.0, 1.2, 2.0])
def test_the_calibration_error_has_an_interval_that_errs_on_the_safe_side(answers, power):
    rng = np.random.default_rng(answers)
    many = rng.random(1_000_000)
    truth = 0.0 if power == 1 else calibration_error(many, many**power)
    held = 0
    for _ in range(TRIALS // 4):
        scores = rng.random(answers)
        truths = rng.random(answers) < scores**power
        found = calibration_error_interval(scores, truths, range(answers), rng, resamples=500)
        held += found.low <= truth <= found.high
    assert held / (TRIALS // 4) > 0.93
