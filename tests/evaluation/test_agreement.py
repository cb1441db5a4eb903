"""Two judges on the same dialogues."""

import numpy as np
import pytest

from redteam_env.evaluation.agreement import agreements, cohens_kappa
from redteam_env.evaluation.statistics import wilson
from redteam_env.game import RedteamError, Verdict

FIELD = "response_harmful"


def verdicts(*answers):
    return [
        Verdict(error="x") if answer == "error" else Verdict(response_harmful=answer)
        for answer in answers
    ]


def compared(first, second, clusters=None):
    clusters = clusters or list(range(len(first)))
    return agreements(verdicts(*first), verdicts(*second), clusters)[FIELD]


def test_kappa_by_hand():
    # 35 of 50 alike, half of them by chance
    a = np.array([True] * 25 + [False] * 25)
    b = np.array([True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    assert cohens_kappa(a, b) == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(5))
def test_statsmodels_has_the_same_kappa(seed):
    raters = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(seed)
    a = rng.random(60) < 0.4
    b = np.where(rng.random(60) < 0.7, a, rng.random(60) < 0.5)
    table = [[np.sum((a == x) & (b == y)) for y in (False, True)] for x in (False, True)]
    expected = raters.cohens_kappa(table)
    found = compared(a.tolist(), b.tolist())
    assert found.kappa.value == pytest.approx(expected.kappa)
    assert found.kappa.interval.low == pytest.approx(expected.kappa_low, abs=0.08)
    assert found.kappa.interval.high == pytest.approx(expected.kappa_upp, abs=0.08)


def test_only_dialogues_that_both_answered_are_compared():
    found = compared([True, True, None, "error", False], [True, False, True, None, "error"])
    assert (found.differing.k, found.differing.n) == (1, 2)
    assert (found.first_only, found.second_only, found.neither) == (1, 1, 1)


def test_judges_that_never_differ_keep_an_interval():
    found = compared([True, False] * 10, [True, False] * 10)
    assert found.kappa.value == 1.0
    assert found.kappa.interval.low == pytest.approx(1 - 2 * wilson(0, 20).high)
    assert found.kappa.interval.high == 1.0


def test_agreement_that_chance_would_reach_has_no_kappa():
    assert compared([True] * 5, [True] * 5).kappa is None
    assert compared([], []).kappa is None


def test_games_on_one_seed_are_drawn_together():
    first, second = [True, False] * 20, [True] * 20 + [True, False] * 10
    alone = compared(first, second)
    together = compared(first, second, [k // 10 for k in range(40)])
    width = [x.kappa.interval.high - x.kappa.interval.low for x in (alone, together)]
    assert width[1] > width[0]


def test_other_numbers_of_verdicts_are_refused():
    with pytest.raises(RedteamError, match="1 and 2 verdicts"):
        agreements(verdicts(True), verdicts(True, False), [0])
