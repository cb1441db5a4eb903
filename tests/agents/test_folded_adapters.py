"""Adapters folded into the weights: the same model, faster, and a base that nobody writes to."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_qwen

from agents.lora import store as stores
from agents.lora.config import WEIGHTS, PolicyConfig
from agents.lora.hf import completion_logprobs, sample
from agents.lora.policy import lora
from agents.models import fingerprint
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE

IDS = torch.arange(24).reshape(2, 12)


def disturb(policy) -> None:
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name in policy.names:
            for tensor in policy.parameters(name):
                tensor.add_(0.05 * torch.randn(tensor.shape, generator=draws))


@pytest.fixture
def policy(make_policy):
    made = make_policy()
    disturb(made)
    return made


def logits(context) -> torch.Tensor:
    with torch.no_grad(), context as model:
        return model(input_ids=IDS).logits


def peft(policy, name: str) -> torch.Tensor:
    return logits(policy.store.using(name))


def folded(store, name: str) -> bool:
    """Whether sampling computes with weights of its own."""
    base = {tensor.data_ptr() for tensor in store.base.model.state_dict().values()}
    with store.sampling(name) as model:
        return not {tensor.data_ptr() for tensor in model.state_dict().values()} <= base


def adapt(policy, tmp_path, **options):
    """Put an adapter that PEFT saved on the policy's base, under the name of its own."""
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    model = get_peft_model(tiny_qwen(scale=0.15), config)
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if "lora_" in key:
                tensor.add_(0.05)
    model.save_pretrained(tmp_path / "saved")
    policy.store.load("own", tmp_path / "saved")


@pytest.mark.parametrize("name", ["attacker", "defender"])
@pytest.mark.parametrize("way", ["sampling", "learning"])
def test_a_folded_adapter_computes_what_peft_computes(policy, monkeypatch, way, name):
    monkeypatch.setattr(stores, "_FOLD_RATIO", 1e9)
    own = getattr(policy.store, way)(name)
    torch.testing.assert_close(logits(own), peft(policy, name), atol=1e-4, rtol=0)
    assert (peft(policy, name) - peft(policy, BASE)).abs().max() > 0.1


def test_the_base_keeps_its_tensors_and_every_bit_of_them(policy):
    model = policy.store.base.model
    before = {key: (tensor, tensor.clone()) for key, tensor in model.state_dict().items()}
    whole, plain = fingerprint(model, full=True), peft(policy, BASE)
    for name in ("attacker", "defender"):
        with policy.store.sampling(name):
            assert torch.equal(peft(policy, BASE), plain), "the base stays the base meanwhile"
    assert torch.equal(peft(policy, BASE), plain)
    assert fingerprint(model, full=True) == whole
    for key, tensor in model.state_dict().items():
        assert tensor.data_ptr() == before[key][0].data_ptr()
        assert torch.equal(tensor, before[key][1])


def test_an_error_while_sampling_leaves_no_adapter_behind(policy):
    before = logits(policy.store.sampling("attacker"))
    with pytest.raises(ZeroDivisionError), policy.store.sampling("defender"):
        raise ZeroDivisionError
    twin = dict(policy.store._folded.named_parameters())
    for key, tensor in policy.store._plain.named_parameters():
        assert twin[key] is tensor
    assert torch.equal(logits(policy.store.sampling("attacker")), before)


def test_sampling_follows_every_change_of_the_weights_published_or_not(policy):
    before = logits(policy.store.sampling("attacker"))
    with torch.no_grad():
        policy.parameters("attacker")[1].data.add_(0.1)
    after = logits(policy.store.sampling("attacker"))
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, peft(policy, "attacker"), atol=1e-4, rtol=0)


def test_the_plain_base_holds_no_second_copy_of_its_tensors(policy):
    places = {tensor.data_ptr() for tensor in policy.store.base.model.state_dict().values()}
    for twin in (policy.store._plain, policy.store._folded):
        assert {tensor.data_ptr() for tensor in twin.parameters()} <= places


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_folding_changes_no_gradient(make_policy, requests, monkeypatch, arrangement):
    found = []
    for ratio in (0, 1e9):
        monkeypatch.setattr(stores, "_FOLD_RATIO", ratio)
        policy = make_policy(arrangement)
        disturb(policy)
        role = policy.trainable_roles[0]
        sampled = [r.generation for r in policy.agent(role).act(requests(6, role))]
        policy.logprobs(role, sampled).logprobs.sum().backward()
        found.append([t.grad for t in policy.parameters(policy.weights_of(role))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert any(tensor.abs().max() > 1e-3 for tensor in found[0])


def test_adapters_that_are_large_for_their_layers_learn_folded_from_the_first_step(
    make_policy, requests
):
    policy = make_policy(rank=16)
    with policy.store.learning("attacker") as model:
        assert model is not policy.store.base.model
    sampled = [r.generation for r in policy.agent("attacker").act(requests(3))]
    policy.logprobs("attacker", sampled).logprobs.sum().backward()
    assert any(tensor.grad.abs().max() > 0 for tensor in policy.parameters("attacker"))
    assert all(tensor.grad is None for tensor in policy.parameters("defender"))


def test_small_adapters_are_lent_to_a_plain_model_and_taken_back(make_policy):
    policy = make_policy(rank=1)
    disturb(policy)
    with policy.store.learning("attacker") as model:
        own = [module for module in model.modules() if getattr(module, "adapter", None)]
        assert len(own) == len(policy.parameters("attacker")) // 2
        torch.testing.assert_close(
            model(input_ids=IDS).logits, peft(policy, "attacker"), atol=1e-4, rtol=0
        )
    assert not any(getattr(module, "adapter", None) for module in model.modules())


def test_an_adapter_of_another_scale_is_folded_at_its_scale(policy, tmp_path):
    adapt(policy, tmp_path, use_rslora=True)
    assert folded(policy.store, "own")
    own = logits(policy.store.sampling("own"))
    torch.testing.assert_close(own, peft(policy, "own"), atol=1e-4, rtol=0)


def test_a_half_precision_base_and_a_large_one_are_not_folded(make_policy, tiny_model, monkeypatch):
    assert folded(make_policy().store, "attacker")
    half = PolicyConfig(model=str(tiny_model), device="cpu", dtype="bfloat16")
    assert not folded(lora(half, seed=0).store, "attacker")
    monkeypatch.setattr(stores, "_FOLD_LIMIT", 100)
    assert not folded(make_policy().store, "attacker")


def test_unknown_weights_are_refused_by_every_way_to_use_them(policy):
    for way in ("using", "sampling", "learning"):
        with pytest.raises(RedteamError, match="atacker"), getattr(policy.store, way)("atacker"):
            pass


def test_greedy_completions_are_those_of_transformers_generate(policy):
    prompts = [[5, 6, 7], [5, 6, 9, 1, 2], [200]]
    with policy.store.sampling("attacker") as model:
        own = sample(model, prompts, np.zeros((3, 8)), stop_ids=[258], pad_id=256, temperature=0.0)
    with policy.store.using("attacker") as model:
        for prompt, row in zip(prompts, own, strict=True):
            ids = torch.tensor([prompt])
            theirs = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                pad_token_id=256, eos_token_id=258,
            )  # fmt: skip
            assert theirs[0, len(prompt) :].tolist() == list(row.ids)


def test_completions_of_whole_models_are_scored_by_the_model_itself(make_policy, requests):
    policy = make_policy("shared_full")
    sampled = [r.generation for r in policy.agent("attacker").act(requests(3))]
    with torch.no_grad(), policy.store.using("shared") as model:
        direct = completion_logprobs(model, sampled, pad_id=256)
    assert torch.equal(policy.logprobs("attacker", sampled).logprobs.detach(), direct.logprobs)
