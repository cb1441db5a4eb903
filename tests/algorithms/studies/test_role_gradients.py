"""Gradients of two roles on shared weights: the vectors, their cosines and the noise floor."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.lora.policy import lora
from algorithms.studies.experiments.gradients import cosine, role_gradients
from redteam_env.game import RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.worlds import build_game

VECTORS = st.lists(st.floats(-100, 100), min_size=3, max_size=3).map(np.array)


@given(VECTORS, VECTORS)
def test_the_cosine_is_symmetric_in_range_and_blind_to_length(a, b):
    found = cosine(a, b)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert cosine(b, a) == pytest.approx(found, abs=1e-9)
    assert cosine(3 * a, 0.5 * b) == pytest.approx(found, abs=1e-6)
    assert cosine(a, -b) == pytest.approx(-found, abs=1e-9)


def test_known_cosines():
    x, y = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    assert (cosine(x, x), cosine(x, y), cosine(x, -x)) == (1.0, 0.0, -1.0)
    assert cosine(x, x + y / 2) == pytest.approx(math.sqrt(0.5))
    assert cosine(x, np.zeros(2)) == 0.0


@pytest.fixture
def shared(tiny_config):
    """A tiny run on shared weights, and its policy."""
    config = tiny_config(arrangement="shared")
    return config, lora(config.policy, seed=0)


def test_the_same_games_give_the_same_gradients_and_change_nothing(shared):
    config, policy = shared
    before = [x.detach().clone() for x in policy.parameters("shared")]
    one = role_gradients(config, policy, games=16, seed=3)
    assert role_gradients(config, policy, games=16, seed=3) == one
    assert role_gradients(config, policy, games=16, seed=4)["norms"] != one["norms"]
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters("shared"), before, strict=True))
    assert all(x.grad is None for x in policy.parameters("shared"))
    assert set(one) == {
        "games",
        "samples",
        "norms",
        "attacker_halves",
        "defender_halves",
        "between",
    }
    assert one["samples"] == {"attacker": 8, "defender": 16}
    assert all(-1 <= one[x] <= 1 for x in ("between", "attacker_halves", "defender_halves"))


def test_the_gradient_is_that_of_the_whole_batchs_loss(shared):
    """Compared with one backward pass over all samples of a role, written down anew."""
    config, policy = shared
    found = role_gradients(config, policy, games=16, seed=0)
    path = (0, "gradients", config.run.seed)
    agents = {f"{role}_0": policy.agent(role) for role in policy.trainable_roles}
    setups = schedule(resolve_seeds(config.game.seeds), 16, path=path)
    played = play(setups, agents, resolve_judge(config.game.judge), game=build_game(config.game))
    vectors = {}
    for role, batch in role_batches(played).items():
        lengths = batch.mask.sum(axis=1)
        rewards = torch.from_numpy(np.repeat(batch.rewards, lengths))
        wanted = ((rewards - rewards.mean()) / rewards.std(correction=0)).tolist()
        out = policy.logprobs(role, batch.generations)
        loss = -sum(
            out.logprobs[k, t].double() * wanted.pop(0)
            for k, length in enumerate(lengths)
            for t in range(length)
        ) / len(rewards)
        grads = torch.autograd.grad(loss, list(policy.parameters("shared")), allow_unused=True)
        pieces = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(policy.parameters("shared"), grads, strict=True)
        ]
        vectors[role] = torch.cat([x.double().reshape(-1) for x in pieces]).numpy()
        assert np.linalg.norm(vectors[role]) == pytest.approx(found["norms"][role], rel=1e-4)
    between = cosine(vectors["attacker"], vectors["defender"])
    assert between == pytest.approx(found["between"], abs=1e-4)


@pytest.mark.parametrize("arrangement", ["bipolicy", "independent", "attacker_only"])
def test_roles_without_shared_weights_have_no_common_gradient(tiny_config, arrangement):
    config = tiny_config(arrangement=arrangement)
    with pytest.raises(RedteamError, match=rf"'{arrangement}' has no weights shared"):
        role_gradients(config, lora(config.policy, seed=0), games=8, seed=0)


def test_too_few_games_are_an_error_that_says_so(shared):
    config, policy = shared
    with pytest.raises(RedteamError, match=r"The attacker has 2 samples; play more games"):
        role_gradients(config, policy, games=2, seed=0)
