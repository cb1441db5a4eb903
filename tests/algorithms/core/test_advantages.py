"""Advantages against numbers worked out by hand and against a plain reference."""

import math

import numpy as np
import pytest
import reinforce_reference as ref
from hypothesis import given
from hypothesis import strategies as st
from padding import pad

from algorithms.core.advantages import baselines, reward_to_go, standardise, token_rewards

KINDS = ("none", "batch", "role", "ema")


def test_the_kl_penalty_is_paid_token_by_token_and_the_reward_on_the_last_one():
    kl, mask = pad([np.array([0.5, -0.2, 0.1]), np.array([0.3])])
    got = token_rewards(kl, np.array([2.0, -1.0]), mask, beta=0.1, reward_clip=10.0)
    assert got == pytest.approx(np.array([[-0.05, 0.02, -0.01 + 2.0], [-0.03 - 1.0, 0.0, 0.0]]))
    to_go = reward_to_go(got, mask)
    assert to_go == pytest.approx(np.array([[1.96, 2.01, 1.99], [-1.03, 0.0, 0.0]]))


@pytest.mark.parametrize(("reward", "paid"), [(50.0, 10.0), (-50.0, -10.0), (3.0, 3.0)])
def test_rewards_are_clipped_but_the_penalty_is_not(reward, paid):
    kl, mask = pad([np.array([100.0])])
    got = token_rewards(kl, np.array([reward]), mask, beta=1.0, reward_clip=10.0)
    assert got[0, 0] == pytest.approx(paid - 100.0)


def test_each_baseline_by_hand():
    returns = {"attacker": np.array([[1.0, 3.0], [5.0, 9.0]]), "defender": np.array([[-2.0, 0.0]])}
    masks = {
        "attacker": np.array([[True, True], [True, False]]),
        "defender": np.array([[True, True]]),
    }
    got = {kind: baselines(returns, masks, kind, {"attacker": 1.0}) for kind in KINDS}
    assert got["none"]["attacker"] == pytest.approx((0.0, math.sqrt(35 / 3)))
    assert got["none"]["defender"] == pytest.approx((0.0, math.sqrt(2)))
    assert got["role"]["attacker"] == pytest.approx((3.0, math.sqrt(8 / 3)))
    assert got["role"]["defender"] == pytest.approx((-1.0, 1.0))
    spread = math.sqrt((0.16 + 2.56 + 12.96 + 11.56 + 1.96) / 5)
    assert got["batch"]["attacker"] == got["batch"]["defender"] == pytest.approx((1.4, spread))
    assert got["ema"]["attacker"] == pytest.approx((1.0, math.sqrt(20 / 3)))
    assert got["ema"]["defender"] == pytest.approx((0.0, math.sqrt(2)))


def test_without_a_baseline_failure_keeps_its_sign():
    """Nearly all fail: a reward of -1.5 must not become an advantage above zero."""
    returns = {"defender": np.array([[-2.0]] * 7 + [[-1.5]])}
    masks = {"defender": np.ones((8, 1), dtype=bool)}
    signs = {}
    for kind in ("none", "role"):
        base, scale = baselines(returns, masks, kind, {})["defender"]
        got = standardise(returns["defender"], masks["defender"], baseline=base, scale=scale)
        signs[kind] = got[-1, 0]
    assert signs["role"] > 2
    assert signs["none"] < 0


def test_equal_returns_give_no_advantage_instead_of_noise():
    values = np.array([[1.0 + 1e-9], [1.0]])
    got = standardise(values, np.ones((2, 1), dtype=bool), baseline=1.0, scale=1e-10)
    assert np.abs(got).max() < 1e-4


@pytest.mark.parametrize(("scale", "divisor"), [(0.1, 0.5), (0.5, 0.5), (2.0, 2.0)])
def test_a_scale_below_the_floor_is_replaced_by_it(scale, divisor):
    values, mask = pad([np.array([1.0, 3.0]), np.array([2.0])])
    got = standardise(values, mask, baseline=1.0, scale=scale, floor=0.5)
    assert got == pytest.approx(np.array([[0.0, 2 / divisor], [1 / divisor, 0.0]]))


samples = st.lists(
    st.tuples(
        st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1, max_size=4),
        st.floats(-20, 20),
    ),
    min_size=1,
    max_size=5,
)


@given(
    attacker=samples,
    defender=samples,
    kind=st.sampled_from(KINDS),
    beta=st.floats(0, 1),
    clip=st.floats(0.5, 15),
)
def test_advantages_equal_the_reference_for_any_batch(attacker, defender, kind, beta, clip):
    ema = {"attacker": 0.7}
    given_rows = {"attacker": attacker, "defender": defender}
    returns, masks, plain = {}, {}, {}
    for role, rows in given_rows.items():
        old, mask = pad([np.array([o for o, _ in tokens]) for tokens, _ in rows])
        reference, _ = pad([np.array([r for _, r in tokens]) for tokens, _ in rows])
        rewards = np.array([reward for _, reward in rows])
        per_token = token_rewards(old - reference, rewards, mask, beta=beta, reward_clip=clip)
        returns[role], masks[role] = reward_to_go(per_token, mask), mask
        plain[role] = [
            ref.returns([o for o, _ in tokens], [r for _, r in tokens], reward, beta, clip)
            for tokens, reward in rows
        ]
    chosen = baselines(returns, masks, kind, ema)
    flat = {role: [x for row in rows for x in row] for role, rows in plain.items()}
    for role, rows in plain.items():
        base, scale = chosen[role]
        got = standardise(returns[role], masks[role], baseline=base, scale=scale)
        centre, spread = ref.baseline_and_scale(role, flat, kind, ema)
        for k, row in enumerate(rows):
            expected = [(x - centre) / spread for x in row]
            assert got[k, : len(row)] == pytest.approx(expected, abs=1e-6, rel=1e-6)
            assert not got[k, len(row) :].any()


def test_padding_keeps_rows_at_the_left():
    values, mask = pad([np.array([1.0, 2.0]), np.array([3.0])])
    assert values.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert mask.tolist() == [[True, True], [True, False]]
    assert values.dtype == np.float64
