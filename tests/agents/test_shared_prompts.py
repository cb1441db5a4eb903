"""Rows with the same prompt go on from one computation of it; keys and heads cost no copies."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import completions, tiny_qwen
from transformers.cache_utils import DynamicLayer

from agents.lora import folding, hf, leads
from agents.lora.attention import NAME, share_keys
from agents.models import load_base

NEVER = 10**9
FEW = st.integers(0, 3)
PLAIN = SimpleNamespace(training=False, config=SimpleNamespace(model_type="qwen2"))


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_base(str(tiny_model), device="cpu").model


@pytest.fixture(scope="module", params=["one length", "several lengths"])
def prompts(request):
    """Sixteen rows of four prompts, as the groups of a step are, with a lead in common."""
    rng = np.random.default_rng(3)
    sizes = (9, 9, 9, 9) if request.param == "one length" else (1, 40, 9, 23)
    lead = rng.integers(0, 256, size=20).tolist()
    distinct = [tuple(lead + rng.integers(0, 256, size=n).tolist()) for n in sizes]
    return [distinct[k] for k in rng.permutation(np.repeat(np.arange(4), 4))]


def test_rows_of_one_prompt_sample_what_they_sample_alone(model, prompts, monkeypatch):
    draws = np.random.default_rng(0).random((len(prompts), 12))
    options = {"stop_ids": range(60), "pad_id": 256, "temperature": 1.0}
    found = []
    for worth in (1, NEVER):
        monkeypatch.setattr(leads, "WORTH", worth)
        assert bool(leads.plan(model, prompts)[1]) == (worth == 1)
        found.append(hf.sample(model, prompts, draws, **options))
    for one, other in zip(*found, strict=True):
        assert one.ids == other.ids
        assert one.finished == other.finished
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_rows_of_one_prompt_have_the_logprobs_and_gradients_of_separate_ones(
    model, prompts, monkeypatch
):
    weights = [model.model.layers[k].mlp.up_proj.weight for k in (0, 1)]
    rows = completions(prompts)
    found = []
    for weight in weights:
        weight.requires_grad_()
    try:
        for worth in (1, NEVER):
            monkeypatch.setattr(leads, "WORTH", worth)
            scored = hf.completion_logprobs(model, rows, pad_id=256, entropy="value")
            mean = scored.logprobs.sum() / scored.mask.sum()
            gradients = torch.autograd.grad(mean, weights)
            found.append((scored.logprobs.detach(), scored.entropy, scored.mask, *gradients))
    finally:
        for weight in weights:
            weight.requires_grad_(requires_grad=False)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_lead_computed_before_serves_every_batch(model, prompts, monkeypatch):
    monkeypatch.setattr(leads, "WORTH", 30)
    draws = np.random.default_rng(0).random((len(prompts), 6))
    options = {"stop_ids": (), "pad_id": 256, "temperature": 1.0}
    whole = hf.sample(model, prompts, draws, **options)
    lead = leads.common_lead(model, prompts)
    assert len(lead.ids) >= 20
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leads, "compute_lead", lambda *_: calls.append(1))
        for start in range(0, len(prompts), 3):
            part = slice(start, start + 3)
            found = hf.sample(model, prompts[part], draws[part], lead=lead, **options)
            assert [row.ids for row in found] == [row.ids for row in whole[part]]
    assert not calls


@given(
    st.lists(FEW, max_size=6),
    st.lists(st.lists(FEW, min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_nothing_is_planned_that_a_row_could_not_use(lead, rests, worth):
    rows = [tuple(lead + rest) for rest in rests]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leads, "WORTH", worth)
        size, distinct = leads.plan(PLAIN, rows)
    assert len({row[:size] for row in rows}) == 1
    assert all(len(row) > size for row in rows)
    assert not distinct or (set(distinct) == set(rows) and len(distinct) == len(set(rows)))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 3), st.booleans())
def test_a_cache_with_room_holds_what_a_growing_one_holds(steps, room, small):
    draws = torch.Generator().manual_seed(0)
    layers = leads.Roomy(room), DynamicLayer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leads, "_SMALL", 0 if small else 40)
        for count, tokens in enumerate(steps):
            shape = (2, 2, tokens, 3)
            new = [torch.randn(shape, generator=draws) for _ in range(2)]
            found = [layer.update(*new) for layer in layers]
            for one, other in zip(*found, strict=True):
                assert torch.equal(one, other)
            if count % 2:
                for layer in layers:
                    layer.reorder_cache(torch.tensor([1, 1]))
                assert torch.equal(layers[0].keys, layers[1].keys)
                assert torch.equal(layers[0].values, layers[1].values)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 8, 40, 80])
def test_a_lent_adapter_adds_its_product_and_has_its_gradients(rows, bias):
    draws = torch.Generator().manual_seed(0)
    shapes = {"x": (rows, 2, 5), "a": (3, 5), "b": (4, 3), "weight": (4, 5), "bias": (4,)}
    made = {k: torch.randn(v, generator=draws, dtype=torch.float64) for k, v in shapes.items()}
    trained = [made[name].requires_grad_() for name in ("x", "a", "b")]
    x, a, b = trained
    offset = made["bias"] if bias else None
    expected = torch.nn.functional.linear(x, made["weight"], offset) + 1.7 * x @ a.t() @ b.t()
    found = folding.LowRank.apply(x, made["weight"], offset, a, b, 1.7)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=draws, dtype=torch.float64)
    gradients = [torch.autograd.grad((weights * y).sum(), trained) for y in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_attention_in_groups_is_transformers_attention():
    plain = tiny_qwen(scale=0.2)
    assert plain.config.num_key_value_heads < plain.config.num_attention_heads
    grouped = copy.deepcopy(plain)
    share_keys(grouped)
    assert grouped.config._attn_implementation == NAME
    ids = torch.randint(0, 256, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    for given_mask in (mask, None):
        logits = [
            model(input_ids=ids, attention_mask=given_mask).logits for model in (plain, grouped)
        ]
        torch.testing.assert_close(logits[0][:, 4:], logits[1][:, 4:], atol=1e-5, rtol=0)
    weight = [model.model.layers[0].self_attn.k_proj.weight for model in (plain, grouped)]
    losses = [m(input_ids=ids, attention_mask=mask).logits[:, 4:].sum() for m in (plain, grouped)]
    found = [torch.autograd.grad(y, w)[0] for y, w in zip(losses, weight, strict=True)]
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


def test_attention_that_is_no_sdpa_stays_as_it_is():
    model = tiny_qwen()
    model.set_attn_implementation("eager")
    share_keys(model)
    assert model.config._attn_implementation == "eager"
