"""Frozen means frozen: what training changes, and what it leaves alone to the last bit."""

import pytest
import torch
from policy_updates import changed, play, snapshot, update

from agents.lora.config import WEIGHTS
from agents.lora.policy import lora
from agents.models import fingerprint
from algorithms.training.trainer import train
from redteam_env.protocols import BASE


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_a_training_run_changes_what_it_trains_and_no_byte_of_the_base(tiny_config, arrangement):
    config = tiny_config(arrangement=arrangement, steps=2, epochs=2, minibatch=4)
    policy = lora(config.policy, seed=0)
    base = policy.store.base.model
    whole = fingerprint(base, full=True)
    before = {name: snapshot(policy, name) for name in policy.names}
    assert train(config, policy=policy).finished
    assert fingerprint(base, full=True) == whole
    assert fingerprint(base) == policy.store.base.fingerprint
    for name in policy.names:
        assert changed(policy, name, before[name])
        assert policy.store.versions[name] == 2
    assert policy.store.versions[BASE] == 0


@pytest.mark.parametrize("arrangement", ["bipolicy", "independent"])
@pytest.mark.parametrize(("role", "other"), [("attacker", "defender"), ("defender", "attacker")])
def test_a_step_on_one_role_leaves_the_other_bit_identical(tiny_config, arrangement, role, other):
    policy = lora(tiny_config(arrangement=arrangement).policy, seed=0)
    own, others = snapshot(policy, role), snapshot(policy, other)
    update(policy, role)
    assert changed(policy, role, own)
    assert not changed(policy, other, others)
    assert policy.store.versions == {BASE: 0, role: 1, other: 0}


def test_a_step_on_both_roles_equals_two_steps_on_one_each(tiny_config):
    """Nothing leaks from one adapter's step into the other's, not even through the optimiser."""
    together = lora(tiny_config().policy, seed=0)
    apart = lora(tiny_config().policy, seed=0)
    update(together, "attacker", "defender")
    update(apart, "attacker")
    update(apart, "defender")
    for name in together.names:
        assert not changed(together, name, snapshot(apart, name))


@pytest.mark.parametrize("arrangement", ["shared", "shared_full"])
@pytest.mark.parametrize("role", ["attacker", "defender"])
def test_shared_weights_change_for_both_roles_whoever_played(tiny_config, arrangement, role):
    policy = lora(tiny_config(arrangement=arrangement).policy, seed=0)
    other = play(policy, "defender" if role == "attacker" else "attacker")
    generations = list(other.generations)
    before = policy.logprobs(other.role, generations).logprobs.detach()
    update(policy, role)
    assert not torch.equal(policy.logprobs(other.role, generations).logprobs, before)


@pytest.mark.parametrize(
    ("arrangement", "frozen"), [("attacker_only", "defender"), ("defender_only", "attacker")]
)
def test_the_frozen_seat_of_a_one_sided_run_goes_on_playing_as_the_base(
    tiny_config, arrangement, frozen
):
    policy = lora(tiny_config(arrangement=arrangement).policy, seed=0)
    before = play(policy, frozen)
    update(policy, "attacker", "defender")
    assert play(policy, frozen).generations == before.generations


def test_raw_seeds_alone_train_the_defender_only(tiny_config):
    config = tiny_config(rewrite_fraction=0.0, steps=1)
    policy = lora(config.policy, seed=0)
    before = {name: snapshot(policy, name) for name in policy.names}
    train(config, policy=policy)
    assert changed(policy, "defender", before["defender"])
    assert not changed(policy, "attacker", before["attacker"])


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared"])
def test_the_size_of_micro_batches_does_not_change_the_weights(tiny_config, arrangement):
    found = []
    for size in (1, 4, 16):
        policy = lora(tiny_config(arrangement=arrangement).policy, seed=0)
        update(policy, "attacker", "defender", micro_batch=size, lr=1e-3)
        found.append([t.detach().clone() for name in policy.names for t in policy.parameters(name)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_a_learning_rate_of_zero_for_one_role_leaves_its_adapter_alone(tiny_config):
    policy = lora(tiny_config().policy, seed=0)
    before = {name: snapshot(policy, name) for name in policy.names}
    update(policy, "attacker", "defender", defender_lr=0.0)
    assert changed(policy, "attacker", before["attacker"])
    assert not changed(policy, "defender", before["defender"])


def test_two_learning_rates_move_shared_weights_differently_from_one(tiny_config):
    found = []
    for options in ({}, {"attacker_lr": 1e-3, "defender_lr": 1e-2}):
        policy = lora(tiny_config(arrangement="shared").policy, seed=0)
        update(policy, "attacker", "defender", **options)
        found.append(snapshot(policy, "shared"))
    assert any(not torch.equal(a, b) for a, b in zip(*found, strict=True))
