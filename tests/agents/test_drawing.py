"""Tokens are drawn by the inverse of their distribution function, however large the vocabulary."""

import numpy as np
import pytest
import torch

from agents.lora import hf

LARGE = 20_000  # words: more than are summed one by one


def drawn(logits, uniform, temperature=1.0):
    rows = torch.as_tensor(np.asarray(logits), dtype=torch.float32)
    tokens, logprobs = hf._choose(rows, torch.as_tensor(np.asarray(uniform)), temperature)
    return tokens.tolist(), logprobs


@pytest.mark.parametrize("words", [7, LARGE, LARGE + 1])
@pytest.mark.parametrize("scale", [0.0, 3.0, 30.0])
def test_a_token_is_where_the_distribution_function_passes_the_number(words, scale):
    rng = np.random.default_rng(words)
    logits = rng.normal(size=(64, words)).astype(np.float32) * np.float32(scale)
    uniform = rng.random(64)
    tokens, logprobs = drawn(logits, uniform)
    weights = np.exp(logits.astype(float) - logits.max(-1, keepdims=True))
    cumulative = weights.cumsum(-1) / weights.sum(-1, keepdims=True)
    before = np.pad(cumulative, ((0, 0), (1, 0)))
    for k, token in enumerate(tokens):
        assert before[k, token] - 1e-6 <= uniform[k] <= cumulative[k, token] + 1e-6
    expected = np.log(weights / weights.sum(-1, keepdims=True))[np.arange(64), tokens]
    np.testing.assert_allclose(logprobs.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("words", [7, LARGE, LARGE + 1])
def test_a_word_of_no_probability_is_never_drawn(words):
    logits = np.full((5, words), -np.inf)
    logits[:, 2:4] = 0.0
    uniform = [0.0, 0.25, 0.5, 0.75, np.nextafter(1.0, 0.0)]
    assert drawn(logits, uniform)[0] == [2, 2, 3, 3, 3]


@pytest.mark.parametrize("words", [7, LARGE])
def test_frequencies_are_the_probabilities(words):
    logits = np.full((1, words), -30.0)
    logits[0, [0, 3, words - 1]] = np.log([0.2, 0.3, 0.5])
    rows = np.repeat(logits, 2000, axis=0)
    tokens = np.array(drawn(rows, (np.arange(2000) + 0.5) / 2000)[0])
    assert [int((tokens == k).sum()) for k in (0, 3, words - 1)] == [400, 600, 1000]


@pytest.mark.parametrize("words", [7, LARGE])
def test_diverged_weights_draw_something_for_the_trainer_to_find(words):
    tokens, logprobs = drawn(np.full((2, words), np.nan), [0.1, 0.9])
    assert all(0 <= token < words for token in tokens)
    assert torch.isnan(logprobs).all()
