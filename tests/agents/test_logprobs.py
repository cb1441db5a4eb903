"""Log-probabilities: what sampling stored is what training computes, and the KL starts at zero."""

import dataclasses

import numpy as np
import pytest
import torch
from played import disturb, generations

from agents.lora.config import WEIGHTS
from agents.lora.hf import completion_logprobs
from redteam_env.game import RedteamError

ARRANGEMENTS = sorted(WEIGHTS)


def rows(found) -> list[list[float]]:
    return [found.logprobs[k][found.mask[k]].tolist() for k in range(len(found.mask))]


def gap(one: list[list[float]], other: list[list[float]]) -> float:
    pairs = zip(one, other, strict=True)
    return max(abs(a - b) for x, y in pairs for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_stored_logprobs_equal_recomputed_ones(make_policy, requests, arrangement, temperature):
    policy = make_policy(arrangement, temperature=temperature)
    disturb(policy)
    for role in ("attacker", "defender"):
        sampled = generations(policy, requests, role)
        assert len({len(g.prompt_ids) for g in sampled}) == 6
        recomputed = rows(policy.logprobs(role, sampled))
        for generation, row in zip(sampled, recomputed, strict=True):
            assert row == pytest.approx(generation.logprobs, abs=1e-4)


def test_stored_logprobs_come_from_the_adapter_that_sampled(make_policy, requests):
    policy = make_policy("bipolicy")
    disturb(policy)
    sampled = generations(policy, requests, "attacker")
    assert {g.adapter for g in sampled} == {"attacker"}
    other = rows(policy.logprobs("defender", sampled))
    base = rows(policy.reference_logprobs("attacker", sampled))
    own = [list(g.logprobs) for g in sampled]
    assert gap(own, other) > 0.05
    assert gap(own, base) > 0.05


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_kl_to_the_reference_is_zero_at_the_start(make_policy, requests, arrangement):
    policy = make_policy(arrangement)
    for role in ("attacker", "defender"):
        sampled = generations(policy, requests, role)
        own = policy.logprobs(role, sampled)
        reference = policy.reference_logprobs(role, sampled)
        assert torch.equal(own.mask, reference.mask)
        if policy.config.full:  # a copy's tensors may lie differently in memory
            torch.testing.assert_close(own.logprobs, reference.logprobs, atol=1e-5, rtol=0)
        else:
            assert torch.equal(own.logprobs, reference.logprobs)


def test_the_reference_stays_the_base_while_the_policy_moves(make_policy, requests):
    for arrangement in ARRANGEMENTS:
        policy = make_policy(arrangement)
        sampled = generations(policy, requests, "attacker")
        before = policy.reference_logprobs("attacker", sampled).logprobs
        disturb(policy)
        assert torch.equal(policy.reference_logprobs("attacker", sampled).logprobs, before)


def test_rows_do_not_depend_on_the_padding_beside_them(make_policy, requests):
    policy = make_policy()
    disturb(policy)
    sampled = generations(policy, requests, "attacker")
    sampled[2] = dataclasses.replace(
        sampled[2], completion_ids=sampled[2].completion_ids[:3], logprobs=sampled[2].logprobs[:3]
    )
    together = rows(policy.logprobs("attacker", sampled))
    for k, generation in enumerate(sampled):
        alone = rows(policy.logprobs("attacker", [generation]))[0]
        assert together[k] == pytest.approx(alone, abs=1e-5)
    assert [len(row) for row in together] == [len(g.completion_ids) for g in sampled]


def test_entropy_is_that_of_the_whole_next_token_distribution(make_policy, requests):
    policy = make_policy(temperature=0.7)
    generation = generations(policy, requests, "attacker", 1)[0]
    found = policy.logprobs("attacker", [generation])
    ids = [*generation.prompt_ids, *generation.completion_ids]
    with torch.no_grad(), policy.store.using("attacker") as model:
        logits = model(input_ids=torch.tensor([ids])).logits[0, len(generation.prompt_ids) - 1 : -1]
    p = torch.softmax(logits.double() / 0.7, -1).numpy()
    assert found.entropy[0].tolist() == pytest.approx((-p * np.log(p)).sum(-1).tolist(), abs=1e-4)


def test_gradients_reach_the_role_that_plays_and_no_other(make_policy, requests):
    policy = make_policy("bipolicy")
    sampled = generations(policy, requests, "attacker", 2)
    policy.logprobs("attacker", sampled).logprobs.sum().backward()
    policy.reference_logprobs("attacker", sampled)
    assert any(tensor.grad.abs().sum() > 0 for tensor in policy.parameters("attacker"))
    assert all(tensor.grad is None for tensor in policy.parameters("defender"))
    base = [p for key, p in policy.store.base.model.named_parameters() if "lora_" not in key]
    assert base
    assert all(p.grad is None and not p.requires_grad for p in base)


def test_gradients_survive_the_use_of_another_adapter_before_the_backward_pass(
    make_policy, requests
):
    policy = make_policy("bipolicy")
    sampled = generations(policy, requests, "attacker", 2)
    loss = policy.logprobs("attacker", sampled).logprobs.sum()
    policy.agent("defender").act(requests(2, "defender"))
    policy.reference_logprobs("attacker", sampled)
    loss.backward()
    with_switch = [tensor.grad.clone() for tensor in policy.parameters("attacker")]
    for tensor in policy.parameters("attacker"):
        tensor.grad = None
    policy.logprobs("attacker", sampled).logprobs.sum().backward()
    for tensor, expected in zip(policy.parameters("attacker"), with_switch, strict=True):
        assert torch.equal(tensor.grad, expected)


def test_dropout_is_on_while_learning_and_off_while_playing(make_policy, requests):
    policy, plain = make_policy(dropout=0.5), make_policy()
    disturb(policy)
    disturb(plain)
    sampled = generations(policy, requests, "attacker")
    assert sampled == generations(plain, requests, "attacker")
    reference = policy.reference_logprobs("attacker", sampled).logprobs
    assert torch.equal(reference, plain.reference_logprobs("attacker", sampled).logprobs)
    torch.manual_seed(0)
    first, second = (rows(policy.logprobs("attacker", sampled)) for _ in range(2))
    assert gap(first, second) > 0.01


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"gradient_checkpointing": True}])
def test_without_gradients_they_are_those_of_the_policy_that_plays(make_policy, requests, options):
    policy = make_policy(**options)
    disturb(policy)
    sampled = generations(policy, requests, "attacker")
    with torch.no_grad():
        found = rows(policy.logprobs("attacker", sampled))
    for generation, row in zip(sampled, found, strict=True):
        assert row == pytest.approx(generation.logprobs, abs=1e-5)


@pytest.mark.parametrize(
    ("arrangement", "dropout"), [("bipolicy", 0.0), ("bipolicy", 0.5), ("shared_full", 0.0)]
)
def test_gradient_checkpointing_changes_memory_and_nothing_else(
    make_policy, requests, arrangement, dropout
):
    found = []
    for checkpointing in (False, True):
        policy = make_policy(arrangement, gradient_checkpointing=checkpointing, dropout=dropout)
        disturb(policy)
        sampled = generations(policy, requests, "attacker", 3)
        passes = []
        train = checkpointing or dropout > 0
        way = policy.store.using if train else policy.store.learning
        with way(policy.weights_of("attacker")) as model:
            first = model.model.layers[0].input_layernorm
            first.register_forward_hook(lambda *_, seen=passes: seen.append(1))
        torch.manual_seed(0)
        policy.logprobs("attacker", sampled).logprobs.sum().backward()
        assert len(passes) == (2 if checkpointing else 1), "a second pass recomputes activations"
        name = policy.weights_of("attacker")
        found.append(
            ([g.completion_ids for g in sampled], [t.grad for t in policy.parameters(name)])
        )
    (plain_ids, plain), (ids, checked) = found
    assert ids == plain_ids
    for a, b in zip(plain, checked, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_samples_of_two_temperatures_in_one_batch_are_refused(make_policy, requests):
    policy = make_policy()
    a, b = generations(policy, requests, "attacker", 2)
    mixed = [a, dataclasses.replace(b, temperature=0.5)]
    with (
        policy.store.using("attacker") as model,
        pytest.raises(RedteamError, match=r"0\.5.*1\.0"),
    ):
        completion_logprobs(model, mixed, pad_id=0)
