"""What a trained policy says and how probable it finds it, beside plain PEFT and transformers."""

import pytest
import torch
from peft import PeftModel
from played import disturb, generations
from transformers import AutoModelForCausalLM

from agents.lora.pool import PolicyPool

ARRANGEMENTS = ["bipolicy", "shared", "shared_full", "independent"]


@pytest.fixture
def theirs(tiny_model, tmp_path):
    """Return what loads a policy's weights with nothing of ours."""

    def load(policy, role):
        place = tmp_path / role
        policy.write_weights(policy.weights_of(role), place)
        if policy.config.full:
            return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
        base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        return PeftModel.from_pretrained(base, place)

    return load


@torch.no_grad()
def logprobs(model, generation):
    ids = torch.tensor([[*generation.prompt_ids, *generation.completion_ids]])
    logits = model.eval()(input_ids=ids).logits[0, len(generation.prompt_ids) - 1 : -1]
    scores = (logits / generation.temperature).log_softmax(-1)
    picked = scores.gather(-1, torch.tensor(generation.completion_ids)[:, None])[:, 0]
    return picked, -(scores.exp() * scores).sum(-1)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_peft_and_transformers_find_samples_as_probable(
    make_policy, requests, theirs, arrangement, temperature
):
    policy = make_policy(arrangement, temperature=temperature)
    disturb(policy)
    for role in ("attacker", "defender"):
        sampled = generations(policy, requests, role)
        found, model = policy.logprobs(role, sampled), theirs(policy, role)
        for k, generation in enumerate(sampled):
            picked, entropy = logprobs(model, generation)
            assert list(generation.logprobs) == pytest.approx(picked.tolist(), abs=1e-4)
            own = found.logprobs[k][found.mask[k]], found.entropy[k][found.mask[k]]
            torch.testing.assert_close(own[0].detach(), picked, atol=1e-4, rtol=0)
            torch.testing.assert_close(own[1].detach(), entropy, atol=1e-4, rtol=0)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_peft_has_the_same_gradients(make_policy, requests, theirs, arrangement):
    policy = make_policy(arrangement)
    disturb(policy)
    sampled = generations(policy, requests, n=3)
    policy.logprobs("attacker", sampled).logprobs.sum().backward()
    own = {tuple(x.shape): 0.0 for x in policy.parameters(policy.weights_of("attacker"))}
    for tensor in policy.parameters(policy.weights_of("attacker")):
        own[tuple(tensor.shape)] += float(tensor.grad.double().square().sum())
    model = theirs(policy, "attacker").eval()
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(policy.config.full or "lora_" in name)
    for generation in sampled:
        ids = torch.tensor([[*generation.prompt_ids, *generation.completion_ids]])
        logits = model(input_ids=ids).logits[0, len(generation.prompt_ids) - 1 : -1]
        scores = (logits / generation.temperature).log_softmax(-1)
        scores.gather(-1, torch.tensor(generation.completion_ids)[:, None]).sum().backward()
    peft = dict.fromkeys(own, 0.0)
    for tensor in model.parameters():
        if tensor.grad is not None:
            peft[tuple(tensor.shape)] += float(tensor.grad.double().square().sum())
    assert own == pytest.approx(peft, rel=1e-3)
    assert max(own.values()) > 0


def test_transformers_says_the_same_word_for_word(
    make_policy, requests, theirs, tiny_model, tmp_path
):
    policy = make_policy("bipolicy")
    disturb(policy)
    model = theirs(policy, "attacker")
    pool = PolicyPool(base=str(tiny_model), max_new_tokens=10)
    agent = pool.load(str(tmp_path / "attacker"), "attacker")
    for reply in agent.act(requests(5)):
        prompt = torch.tensor([reply.generation.prompt_ids])
        said = model.generate(input_ids=prompt, do_sample=False, max_new_tokens=10, pad_token_id=0)
        theirs_ids = said[0, prompt.shape[1] :].tolist()
        assert list(reply.generation.completion_ids) == theirs_ids
