"""Samples go through the model together in bounded batches of similar length."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from policy_updates import snapshot, update

from agents.lora.policy import lora
from algorithms.core.passes import chunks
from redteam_env.game import Generation


def generation(prompt: int, completion: int) -> Generation:
    return Generation(
        prompt_ids=(1,) * prompt,
        completion_ids=(2,) * completion,
        logprobs=(0.0,) * completion,
        adapter="base",
        version=0,
        temperature=1.0,
        finished=True,
    )


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), max_size=40),
    st.integers(1, 10),
    st.integers(1, 400),
)
def test_every_sample_is_in_one_batch_and_no_batch_is_over_a_limit(sizes, rows, tokens):
    made = chunks([generation(*size) for size in sizes], rows=rows, tokens=tokens)
    assert sorted(k for chunk in made for k in chunk) == list(range(len(sizes)))
    for chunk in made:
        prompt = max(sizes[k][0] for k in chunk)
        completion = max(sizes[k][1] for k in chunk)
        assert len(chunk) == 1 or len(chunk) * (prompt + completion) <= tokens
        assert len(chunk) <= rows


def test_long_samples_are_not_padded_against_short_ones():
    made = chunks([generation(n, 1) for n in (9, 1, 9, 1)], rows=2, tokens=100)
    assert [sorted(chunk) for chunk in made] == [[1, 3], [0, 2]]


def test_rows_of_one_prompt_go_through_together():
    prompts = [(1, 2, 3), (1, 2, 4), (1, 2, 3), (1, 2, 4)]
    lengths = (1, 2, 4, 3)
    rows = [
        dataclasses.replace(generation(3, n), prompt_ids=prompt)
        for prompt, n in zip(prompts, lengths, strict=True)
    ]
    assert [sorted(chunk) for chunk in chunks(rows, rows=2, tokens=100)] == [[1, 3], [0, 2]]


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared"])
def test_the_token_budget_does_not_change_the_weights(tiny_config, arrangement):
    found = []
    for tokens in (1, 200, 4000):
        policy = lora(tiny_config(arrangement=arrangement).policy, seed=0)
        update(policy, "attacker", "defender", micro_tokens=tokens, lr=1e-3)
        found.append([tensor for name in policy.names for tensor in snapshot(policy, name)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
