"""Samples go through the model together in bounded batches of similar length."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_frozen_weights import snapshot, update

from agents.lora.policy import lora
from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from redteam_env.game import Game, Generation


class Nothing:
    """A policy without weights: the cut into batches needs none."""

    trainable_roles = ()


class Sharing(Nothing):
    shares_prompts = True


def chunks(generations, **limits):
    algorithm = ReinforcePP(ReinforcePPConfig(**limits), policy=Nothing(), game=Game(), seed=0)
    return algorithm._chunks(generations)


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
    made = chunks([generation(*size) for size in sizes], micro_batch=rows, micro_tokens=tokens)
    assert sorted(k for chunk in made for k in chunk) == list(range(len(sizes)))
    for chunk in made:
        prompt = max(sizes[k][0] for k in chunk)
        completion = max(sizes[k][1] for k in chunk)
        assert len(chunk) == 1 or len(chunk) * (prompt + completion) <= tokens
        assert len(chunk) <= rows


def test_long_samples_are_not_padded_against_short_ones():
    made = chunks([generation(n, 1) for n in (9, 1, 9, 1)], micro_batch=2)
    assert [sorted(chunk) for chunk in made] == [[1, 3], [0, 2]]


def test_rows_of_one_prompt_go_through_together():
    prompts = [(1, 3, 9), (1, 4, 9), (1, 3, 9), (1, 4, 9)]
    lengths = (1, 2, 4, 3)
    rows = [
        dataclasses.replace(generation(3, n), prompt_ids=prompt)
        for prompt, n in zip(prompts, lengths, strict=True)
    ]
    assert [sorted(chunk) for chunk in chunks(rows, micro_batch=2)] == [[1, 3], [0, 2]]


def test_turns_of_a_dialogue_go_through_together_and_count_less_where_they_are_shared():
    turns = [(7, 7, *range(10, 10 + n)) for n in (12, 24, 36)]
    other = [(8, 8, *range(10, 10 + n)) for n in (12, 24, 36)]
    rows = [
        dataclasses.replace(generation(1, 2), prompt_ids=prompt)
        for pair in zip(turns, other, strict=True)
        for prompt in pair
    ]
    assert [sorted(x) for x in trunks_chunks(rows, 120, shared=False)] == [[0, 2, 4], [1, 3, 5]]
    assert [sorted(x) for x in trunks_chunks(rows, 126, shared=True)] == [[0, 1, 2, 3, 4, 5]]
    for limit in range(1, 240):
        made = trunks_chunks(rows, limit, shared=True)
        assert sorted(k for chunk in made for k in chunk) == list(range(6))
        for chunk in made:
            assert len(chunk) == 1 or 2 * len(chunk) + len(rows[chunk[-1]].prompt_ids) <= limit


def trunks_chunks(rows, tokens, *, shared):
    policy = Sharing() if shared else Nothing()
    config = ReinforcePPConfig(micro_tokens=tokens)
    return ReinforcePP(config, policy=policy, game=Game(), seed=0)._chunks(rows)


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
