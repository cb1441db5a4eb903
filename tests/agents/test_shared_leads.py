"""The common lead of prompts is computed once; nothing else changes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import completions

from agents.lora import hf, leads
from agents.models import load_base

NEVER = 10**9


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_base(str(tiny_model), device="cpu").model


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(3)
    lead = rng.integers(0, 256, size=40).tolist()
    return [lead + rng.integers(0, 256, size=n).tolist() for n in (1, 17, 4, 60, 9, 30, 2, 45)]


def fake(training: bool = False, model_type: str = "qwen2", **config):
    config = SimpleNamespace(model_type=model_type, **config)
    return SimpleNamespace(training=training, config=config)


def test_a_shared_lead_changes_no_sampled_token(model, prompts, monkeypatch):
    draws = np.random.default_rng(0).random((len(prompts), 12))
    found = []
    for worth in (1, NEVER):
        monkeypatch.setattr(leads, "WORTH", worth)
        assert leads.plan(model, prompts)[0] == (40 if worth == 1 else 0)
        options = {"stop_ids": range(60), "pad_id": 256, "temperature": 1.0}
        found.append(hf.sample(model, prompts, draws, **options))
    for one, other in zip(*found, strict=True):
        assert one.ids == other.ids
        assert one.finished == other.finished
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_shared_lead_changes_no_logprob_and_no_gradient(model, prompts, monkeypatch):
    weight = model.model.layers[0].mlp.up_proj.weight
    rows = completions(prompts)
    found = []
    weight.requires_grad_()
    try:
        for worth in (1, NEVER):
            monkeypatch.setattr(leads, "WORTH", worth)
            scored = hf.completion_logprobs(model, rows, pad_id=256, entropy="value")
            (gradient,) = torch.autograd.grad(scored.logprobs.sum(), weight)
            found.append((scored.logprobs.detach(), scored.entropy, scored.mask, gradient))
    finally:
        weight.requires_grad_(requires_grad=False)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_rows_that_end_are_held_or_dropped_without_a_change(model, prompts, monkeypatch):
    draws = np.random.default_rng(0).random((len(prompts), 12))
    found = []
    for held in (0.0, 0.5, 1.0):
        monkeypatch.setattr(hf, "_HELD", held)
        rows = hf.sample(model, prompts, draws, stop_ids=range(60), pad_id=256, temperature=1.0)
        found.append([(row.ids, row.finished) for row in rows])
    assert found[0] == found[1] == found[2]
    assert len({len(ids) for ids, _ in found[0]}) > 3


@given(
    st.lists(st.integers(0, 3), max_size=6),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=5),
)
def test_the_lead_is_shared_by_all_and_leaves_each_a_token(lead, rests):
    rows = [lead + rest for rest in rests]
    size = leads.plan(fake(), rows)[0] if len(rows) > 1 else 0
    assert len({tuple(row[:size]) for row in rows}) == 1
    assert all(len(row) > size for row in rows)


def test_a_lead_is_shared_where_it_pays_and_never_under_dropout_or_windows(prompts):
    assert leads.plan(fake(), prompts)[0] == 40
    assert leads.plan(fake(sliding_window=None, layer_types=["full_attention"]), prompts)[0] == 40
    assert leads.plan(fake(), prompts[:1])[0] == 0
    assert leads.plan(fake(), prompts[:2])[0] == 0, "40 tokens are not worth a pass"
    assert leads.plan(fake(training=True), prompts)[0] == 0
    assert leads.plan(fake(sliding_window=64), prompts)[0] == 0
    assert leads.plan(fake(model_type="nobodys"), prompts)[0] == 0, "not tried, so not trusted"
    assert leads.plan(fake(layer_types=["full_attention", "sliding_attention"]), prompts)[0] == 0
