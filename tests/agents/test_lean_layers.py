"""Layers of frozen models give transformers' own results and gradients."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config

from agents.lora import lean
from agents.lora.folding import twin

FAMILIES = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}


def made(family, **options):
    torch.manual_seed(0)
    config = FAMILIES[family](
        vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=6, pad_token_id=None, **options,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(requires_grad=False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.5, 1.5)
    return model


def kinds(model):
    return {type(module) for module in model.modules()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_twin_gives_the_models_own_results_and_gradients(family):
    model = made(family)
    quick = twin(model)
    assert {lean.RMSNorm, lean.GatedMLP} <= kinds(quick)
    assert not {lean.RMSNorm, lean.GatedMLP} & kinds(model)
    found = []
    for each in (model, quick):
        embeddings = torch.linspace(-2, 2, 3 * 5 * 24).view(3, 5, 24).sin().requires_grad_()
        logits = each(inputs_embeds=embeddings).logits
        logits.square().mean().backward()
        found.append((logits.detach(), embeddings.grad))
    for own, theirs in zip(*found, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", ["input_layernorm", "mlp"])
def test_gradients_are_those_of_finite_differences(layer):
    model = made("llama").double()
    own = copy.deepcopy(getattr(model.model.layers[0], layer))
    quick = lean.GatedMLP(own) if layer == "mlp" else lean.RMSNorm(own)
    x = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(quick(x), own(x))
    assert torch.autograd.gradcheck(quick, x)


def test_other_layers_stay_as_they_are():
    half = twin(made("llama").to(torch.bfloat16))
    assert lean.RMSNorm not in kinds(half)  # transformers computes it in float32
    assert lean.GatedMLP not in kinds(twin(made("llama", hidden_act="gelu")))
    other = AutoModelForCausalLM.from_config(
        GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9)
    )
    assert not {lean.RMSNorm, lean.GatedMLP} & kinds(twin(other))
