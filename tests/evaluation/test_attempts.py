"""Success within k attempts, beside full enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.evaluation.attempts import (
    ended_by_success,
    success_growth,
    success_of,
    success_within,
    successes,
)
from redteam_env.evaluation.statistics import wilson, wilson_of_shares
from redteam_env.game import ATTACKER, DEFENDER, Episode, RedteamError, Seed, Turn, Verdict

TRIED = st.lists(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=6), max_size=6)


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


@given(TRIED, st.integers(1, 6))
def test_within_k_is_the_mean_over_requests_of_all_choices(tried, k):
    found = success_within(tried, k)
    known = [[x for x in own if x is not None] for own in tried]
    shares = [
        np.mean([any(x) for x in itertools.combinations(own, k)]) for own in known if len(own) >= k
    ]
    assert (found.requests, found.short) == (len(shares), len(tried) - len(shares))
    assert found.value == (pytest.approx(np.mean(shares)) if shares else None)
    assert 0 <= found.interval.low <= (found.value or 0) <= found.interval.high <= 1 or not shares


@given(TRIED, st.integers(1, 6))
def test_of_a_search_the_first_k_count_however_early_it_ended(tried, k):
    found = success_within(tried, k, searched=True)
    counted = [own for own in tried if set(own) - {None}]
    hits = sum(True in own[:k] for own in counted)
    assert (found.requests, found.short) == (len(counted), len(tried) - len(counted))
    assert found.value == (pytest.approx(hits / len(counted)) if counted else None)
    assert found.interval == wilson(hits, len(counted))


@given(st.integers(1, 40), st.data())
def test_where_all_attempts_are_asked_about_the_interval_is_wilsons(requests, data):
    k = data.draw(st.integers(1, 4))
    hits = data.draw(st.sampled_from([0, requests, data.draw(st.integers(0, requests))]))
    tried = [[False] * (k - 1) + [j < hits] for j in range(requests)]
    for searched in (False, True):
        assert success_within(tried, k, searched=searched).interval == wilson(hits, requests)


@pytest.mark.parametrize("hit", [True, False])
def test_no_interval_has_width_zero_at_none_or_all(hit):
    found = success_within([[hit] * 4] * 20, 1)
    assert found.interval == wilson(20 * hit, 20)


def test_more_attempts_than_asked_about_make_the_interval_narrower():
    mixed = [[True, False, False, False]] * 10 + [[True, True, False, True]] * 10
    found = success_within(mixed, 1)
    low, high = found.interval.to_json()
    assert low < found.value == 0.5 < high
    whole = wilson(10, 20)
    assert high - low < whole.high - whole.low
    assert found == success_within(mixed, 1), "nothing is drawn"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(1, 4))
def test_an_interval_of_shares_holds_their_mean_and_is_no_wider_than_one_trial_a_seed(
    shares, trials
):
    n, mean = len(shares), float(np.mean(shares))
    found = wilson_of_shares(shares, trials=n * trials)
    assert 0 <= found.low <= mean + 1e-12
    assert mean - 1e-12 <= found.high <= 1
    single = wilson_of_shares([mean] * n, trials=n)
    assert found.high - found.low <= single.high - single.low + 1e-9


def test_requests_count_alike_however_often_they_were_tried():
    found = success_within([[True, False], [False] * 6], 1)
    assert (found.value, found.requests) == (0.25, 2)


def test_void_attempts_do_not_count_and_requests_with_too_few_are_told():
    found = success_within([[True, None], [False, False], [None, None]], 2)
    assert (found.value, found.requests, found.short) == (0.0, 1, 2)
    assert found.interval == wilson(0, 1)


def test_nothing_is_known_without_requests():
    assert success_within([], 3).to_json() == {
        "attempts": 3,
        "rate": None,
        "interval": [0.0, 1.0],
        "requests": 0,
        "short": 0,
    }


def attempt(verdict=None, *, harmful=True):
    return Episode(
        seed=Seed(id="s", text="a request", harmful=harmful),
        rewritten=True,
        turns=(
            Turn(seat=DEFENDER if verdict else ATTACKER, text="", visible="", forfeit=not verdict),
        ),
        verdict=verdict,
        rewards={},
        components={},
        samples=(),
    )


def test_only_harmful_requests_are_attacked_for_harm_and_forfeits_alone_say_nothing():
    hit = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True)
    assert successes([[attempt(), attempt(hit)], [attempt(hit, harmful=False)]]) == [[False, True]]
    assert successes([[attempt(), attempt()]]) == [[None, None]]


@pytest.mark.parametrize(("c", "n", "k"), [(3, 2, 1), (-1, 2, 1), (1, 2, 3), (1, 2, 0)])
def test_impossible_counts_are_refused(c, n, k):
    with pytest.raises(RedteamError, match="attempts"):
        success_of(c, n, k)


def test_no_attempt_at_all_has_no_success():
    with pytest.raises(RedteamError, match="within 0 attempts"):
        success_within([[True]], 0)


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
def test_a_search_cut_short_leaves_success_between_what_its_further_attempts_could_come_to(
    attempts,
):
    tried = [[True], [False], [False, False], [False] * 4, [None, False]]
    ended = [True, True, False, False, True]
    found = success_within(tried, attempts, searched=True, ended=ended)
    # every way in which the attempts that were not made could have come out
    cut = [k for k in (1, 4) if len(tried[k]) < attempts]
    rates = []
    for fates in itertools.product([False, True], repeat=len(cut)):
        whole = [[*own] for own in tried]
        for k, fate in zip(cut, fates, strict=True):
            whole[k] += [fate] * (attempts - len(whole[k]))
        rates.append(success_within(whole, attempts, searched=True).value)
    low, high = min(rates), max(rates)
    assert found.interval.to_json() == pytest.approx(
        [wilson(round(5 * low), 5).low, wilson(round(5 * high), 5).high]
    )
    if not cut:
        assert (found.value, found.bounds) == (low, None)
        return
    assert (found.value, found.bounds.unknown) == (None, len(cut))
    assert [found.bounds.least, found.bounds.most] == pytest.approx([low, high])
    assert found.to_json()["rate"] is None


def test_a_search_of_this_judge_ended_with_a_success_or_without_another_idea():
    hit = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True)
    miss = Verdict(prompt_harmful=True, response_refusal=True, response_harmful=False)
    then = [[attempt(hit)], [attempt(miss)]]
    now = [[attempt(miss)], [attempt(miss)]]
    for again, unknown in ((False, 1), (True, 2)):
        ended = ended_by_success(then, again=again)
        *_, within = success_growth(now, 3, searched=True, ended=ended)
        assert within.bounds.unknown == unknown
    own = success_growth(then, 3, searched=True, ended=ended_by_success(then))
    assert [x.value for x in own] == [0.5] * 3
