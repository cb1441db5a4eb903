"""Advantages within groups, running means and GAE: by hand, and their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from padding import pad

from algorithms.core.advantages import (
    gae,
    game_returns,
    group_deviations,
    group_means,
    means_of_others,
    reward_to_go,
    running_means,
    spread,
)

VALUES = np.array([1.0, 4.0, -2.0, 0.0, 7.0])
GROUPS = np.array([5, 9, 5, 9, 2])


def test_group_baselines_by_hand():
    assert group_means(VALUES, GROUPS) == pytest.approx([-0.5, 2, -0.5, 2, 7])
    assert group_deviations(VALUES, GROUPS) == pytest.approx([1.5, 2, 1.5, 2, 0])
    root = 2**0.5
    sample = group_deviations(VALUES, GROUPS, kind="sample")
    assert sample == pytest.approx([1.5 * root, 2 * root, 1.5 * root, 2 * root, 0])
    assert means_of_others(VALUES, GROUPS) == pytest.approx([-2, 0, 1, 4, 7])


games = st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 4)), min_size=1, max_size=30)


@given(games)
def test_a_group_does_not_see_another_and_its_advantages_sum_to_nothing(rows):
    values, groups = np.array([x for x, _ in rows]), np.array([g for _, g in rows])
    for compare in (group_means, means_of_others, group_deviations):
        whole = compare(values, groups)
        for group in set(groups.tolist()):
            mine = groups == group
            assert whole[mine] == pytest.approx(compare(values[mine], groups[mine]))
    for compare in (group_means, means_of_others):
        left = values - compare(values, groups)
        for group in set(groups.tolist()):
            assert left[groups == group].sum() == pytest.approx(0, abs=1e-9)


@given(games)
def test_leaving_one_out_is_the_groups_mean_stretched(rows):
    """``R - mean of the others`` is ``n / (n - 1)`` times ``R - mean of all``."""
    values, groups = np.array([x for x, _ in rows]), np.array([g for _, g in rows])
    size = np.array([np.sum(groups == g) for g in groups])
    stretch = np.where(size > 1, size / np.maximum(size - 1, 1), 0)
    centred = values - group_means(values, groups)
    assert values - means_of_others(values, groups) == pytest.approx(stretch * centred, abs=1e-9)


def test_a_running_mean_is_read_before_it_is_moved():
    before, after = running_means(np.array([4.0, 0.0, 8.0]), 2.0, decay=0.5)
    assert before == pytest.approx([2.0, 3.0, 1.5])
    assert after == pytest.approx(4.75)


def test_the_penalty_of_a_game_is_charged_over_all_its_turns():
    kl, mask = pad([np.array([1.0, 2.0]), np.array([4.0]), np.array([-3.0])])
    got = game_returns(np.array([1.0, 5.0, 1.0]), kl, mask, np.array([0, 1, 0]), beta=0.5)
    assert got == pytest.approx([1.0 - 0.5 * 0.0, 5.0 - 2.0])


def test_a_rows_value_is_given_to_its_tokens_only():
    _, mask = pad([np.zeros(2), np.zeros(1)])
    assert spread(np.array([3.0, -1.0]), mask).tolist() == [[3, 3], [-1, 0]]


def test_gae_by_hand():
    rewards, mask = pad([np.array([1.0, 0.0, 2.0]), np.array([3.0])])
    values, _ = pad([np.array([0.5, 1.0, -1.0]), np.array([2.0])])
    got = gae(rewards, values, mask, lam=0.5)
    last, middle = 2.0 + 1.0, 0.0 - 1.0 - 1.0
    assert got[0] == pytest.approx([1.5 + 0.5 * (middle + 0.5 * last), middle + 0.5 * last, last])
    assert got[1] == pytest.approx([1.0, 0.0, 0.0])


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_gae_spans_from_one_step_to_the_whole_return(rows):
    rewards, mask = pad([np.array([r for r, _ in row]) for row in rows])
    values, _ = pad([np.array([v for _, v in row]) for row in rows])
    noisy = np.where(mask, values, 99.0)  # what stands off the mask must not count
    whole = np.where(mask, reward_to_go(rewards, mask) - values, 0)
    assert gae(rewards, noisy, mask, lam=1.0) == pytest.approx(whole, abs=1e-9)
    after = np.concatenate([values[:, 1:], np.zeros((len(rows), 1))], axis=1)
    assert gae(rewards, noisy, mask, lam=0.0) == pytest.approx(
        np.where(mask, rewards + after - values, 0), abs=1e-9
    )


def test_deviations_are_numpys_for_groups_of_any_size():
    values, groups = np.array([1.0, 4.0, 2.0, 9.0, 7.0]), np.array([0, 0, 1, 1, 1])
    for kind, less in (("population", 0), ("sample", 1)):
        wanted = [np.std(values[groups == group], ddof=less) for group in groups]
        assert group_deviations(values, groups, kind=kind) == pytest.approx(wanted)
    assert group_deviations(values, groups) == pytest.approx(
        group_deviations(values, groups, kind="population")
    )
