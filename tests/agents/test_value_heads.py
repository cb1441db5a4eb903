"""Value heads of a policy: what they compute, where their gradient goes, how they are kept."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.lora.config import WEIGHTS
from agents.lora.values import FILE
from redteam_env.game import RedteamError
from redteam_env.protocols import ValuedPolicy


def generations(policy, requests, role):
    return [reply.generation for reply in policy.agent(role).act(requests(role=role))]


def fitted(policy, role="attacker", seed=0):
    """A policy whose head of a role says something."""
    draws = torch.Generator().manual_seed(seed)
    for tensor in policy.value_parameters(role):
        tensor.data.copy_(torch.randn(tensor.shape, generator=draws))
    return policy


def disturbed(policy):
    with torch.no_grad():
        for name in policy.names:
            for tensor in policy.parameters(name):
                tensor.add_(0.02)
    return policy


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_a_value_is_read_off_the_state_before_each_token(make_policy, requests, arrangement):
    policy = disturbed(make_policy(arrangement))
    assert isinstance(policy, ValuedPolicy)
    for role in policy.trainable_roles:
        rows = generations(policy, requests, role)
        weight, bias = fitted(policy, role).value_parameters(role)
        found = policy.values(role, rows)
        with policy.store.using(policy.weights_of(role)) as model, torch.no_grad():
            for k, row in enumerate(rows):
                n = len(row.completion_ids)
                ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
                states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
                before = states[len(row.prompt_ids) - 1 : -1]
                values = before @ weight[0] / weight.shape[1] + bias
                torch.testing.assert_close(found.values[k, :n], values, atol=1e-5, rtol=0)
                assert found.mask[k].tolist() == [t < n for t in range(found.mask.shape[1])]
                assert not found.values[k, n:].any()


def test_a_fresh_head_expects_nothing_and_is_a_roles_own(make_policy, requests):
    policy = make_policy("shared")
    rows = generations(policy, requests, "attacker")
    assert not policy.values("attacker", rows).values.any()
    fitted(policy, "defender")
    assert not policy.values("attacker", rows).values.any()
    assert policy.values("defender", rows).values.any()


def test_the_gradient_reaches_the_head_and_nothing_else(make_policy, requests):
    policy = fitted(make_policy())
    found = policy.values("attacker", generations(policy, requests, "attacker"))
    found.values.sum().backward()
    assert all(tensor.grad is not None for tensor in policy.value_parameters("attacker"))
    for name in policy.names:
        assert all(tensor.grad is None for tensor in policy.parameters(name))
    heads = {id(tensor) for tensor in policy.value_parameters("attacker")}
    assert not heads & {id(t) for name in policy.names for t in policy.parameters(name)}


def test_making_heads_leaves_the_global_generator_alone(make_policy):
    policy = make_policy()
    before = torch.random.get_rng_state()
    policy.value_parameters("attacker")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_heads_are_saved_and_restored_with_the_weights(make_policy, requests, tmp_path):
    policy = fitted(fitted(make_policy(), "attacker"), "defender", seed=1)
    policy.save(tmp_path / "saved")
    other = make_policy()
    other.restore(tmp_path / "saved")
    for role in ("attacker", "defender"):
        rows = generations(policy, requests, role)
        assert torch.equal(other.values(role, rows).values, policy.values(role, rows).values)


def test_weights_saved_without_heads_still_load_and_write_no_file(make_policy, tmp_path):
    plain = make_policy()
    plain.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / FILE).exists()
    make_policy().restore(tmp_path / "saved")
    valued = fitted(make_policy())
    weight = valued.value_parameters("attacker")[0].clone()
    valued.restore(tmp_path / "saved")
    assert torch.equal(valued.value_parameters("attacker")[0], weight)


@pytest.mark.parametrize("damage", ["cut", "narrow", "incomplete"])
def test_damaged_heads_are_refused(make_policy, tmp_path, damage):
    fitted(make_policy()).save(tmp_path / "saved")
    file = tmp_path / "saved" / FILE
    tensors = load_file(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-8])
    elif damage == "narrow":
        save_file({**tensors, "attacker/weight": torch.zeros(1, 3)}, file)
    else:
        save_file({"attacker/weight": tensors["attacker/weight"]}, file)
    with pytest.raises(RedteamError, match="value_heads"):
        make_policy().restore(tmp_path / "saved")
    shutil.rmtree(tmp_path / "saved")
