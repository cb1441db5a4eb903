"""Sampling: the right distribution, the same tokens in any batch, and clean ends."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny_models import completions
from transformers import Qwen2Config

from agents.lora.hf import completion_logprobs, sample
from agents.models import load_base

STOPS = tuple(range(60))
"""So many stop tokens that rows end at very different steps."""


class Markov:
    """A model whose next token depends on the last one only."""

    device = torch.device("cpu")
    config = Qwen2Config()

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, input_ids, logits_to_keep, **_):
        states = input_ids[:, -logits_to_keep:] % len(self.logits)
        return SimpleNamespace(logits=self.logits[states])


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_base(str(tiny_model), device="cpu").model


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, size=n).tolist() for n in (1, 17, 4, 60, 9, 30, 2, 45)]


def draw(model, prompts, draws, **options):
    settings = {"stop_ids": STOPS, "pad_id": 256, "temperature": 1.0}
    return sample(model, prompts, draws, **{**settings, **options})


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_token_frequencies_are_those_of_the_softmax(temperature):
    logits = torch.tensor(
        [[0.0, 1.0, -1.0, 2.0, 0.5], [1.5, -0.5, 0.0, 0.3, 0.1]] * 2 + [[0.0] * 5]
    )
    rows = 6000
    draws = np.random.default_rng(1).random((rows, 2))
    sampled = draw(Markov(logits), [[0]] * rows, draws, stop_ids=(), temperature=temperature)
    first = np.array([row.ids[0] for row in sampled])
    for previous in (None, 0, 1, 3):  # the first token, and the second one after each of these
        ids = first if previous is None else [r.ids[1] for r in sampled if r.ids[0] == previous]
        expected = torch.softmax(logits[previous or 0].double() / temperature, -1).numpy()
        counts = np.bincount(ids, minlength=5)
        assert chisquare(counts, expected * len(ids)).pvalue > 1e-3


def test_impossible_tokens_are_never_drawn_even_at_the_ends_of_the_unit_interval():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]] * 5)
    draws = np.array([[0.0], [0.4999], [0.5], [np.nextafter(1.0, 0.0)]])
    sampled = draw(Markov(logits), [[0]] * 4, draws, stop_ids=())
    assert [row.ids[0] for row in sampled] == [1, 1, 3, 3]


def test_temperature_zero_takes_the_most_likely_token_of_the_model(model, prompts):
    sampled = draw(model, prompts, np.zeros((len(prompts), 5)), stop_ids=(), temperature=0.0)
    for prompt, row in zip(prompts, sampled, strict=True):
        ids = list(prompt)
        for token, logprob in zip(row.ids, row.logprobs, strict=True):
            with torch.no_grad():
                scores = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert token == int(scores.argmax())
            assert logprob == pytest.approx(float(scores.max()), abs=1e-4)
            ids.append(token)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_in_a_large_vocabulary_logprobs_are_the_trainers_to_the_last_bit(temperature):
    logits = 3 * torch.randn((5, 151_936), generator=torch.Generator().manual_seed(0))
    model = Markov(logits)
    prompts = [[k] for k in range(8)]
    draws = np.random.default_rng(1).random((len(prompts), 4))
    sampled = draw(model, prompts, draws, stop_ids=(), temperature=temperature)
    generations = [
        dataclasses.replace(
            given, completion_ids=row.ids, logprobs=row.logprobs, temperature=temperature
        )
        for given, row in zip(completions(prompts), sampled, strict=True)
    ]
    found = completion_logprobs(model, generations, pad_id=0).logprobs
    assert found.tolist() == [list(row.logprobs) for row in sampled]
    exact = (logits.double() / (temperature or 1.0)).log_softmax(-1)
    first = [float(exact[k % 5, row.ids[0]]) for k, row in enumerate(sampled)]
    assert [row.logprobs[0] for row in sampled] == pytest.approx(first, abs=3e-6)


def test_rows_that_end_early_do_not_disturb_the_others(model, prompts):
    draws = np.random.default_rng(0).random((len(prompts), 12))
    together = draw(model, prompts, draws)
    ends = {len(row.ids) for row in together}
    assert len(ends) > 3, "the test needs rows that end at different steps"
    for k, prompt in enumerate(prompts):
        alone = draw(model, [prompt], draws[k : k + 1])[0]
        assert together[k].ids == alone.ids
        assert together[k].finished == alone.finished
        assert together[k].logprobs == pytest.approx(alone.logprobs, abs=1e-5)


def test_the_order_of_rows_does_not_matter(model, prompts):
    draws = np.random.default_rng(5).random((len(prompts), 12))
    order = np.random.default_rng(6).permutation(len(prompts))
    straight = draw(model, prompts, draws)
    shuffled = draw(model, [prompts[k] for k in order], draws[order])
    assert [row.ids for row in shuffled] == [straight[k].ids for k in order]


def test_a_stop_token_ends_a_completion_and_is_part_of_it(model, prompts):
    sampled = draw(model, prompts * 4, np.random.default_rng(2).random((4 * len(prompts), 12)))
    assert {row.finished for row in sampled} == {True, False}
    for row in sampled:
        assert not set(row.ids[:-1]) & set(STOPS)
        assert row.finished == (row.ids[-1] in STOPS)
        assert row.finished or len(row.ids) == 12
        assert len(row.logprobs) == len(row.ids)


def test_a_longer_limit_only_lengthens_completions(make_policy, requests):
    short = make_policy(max_new_tokens=4).agent("attacker").act(requests())
    long = make_policy(max_new_tokens=9).agent("attacker").act(requests())
    for a, b in zip(short, long, strict=True):
        assert b.generation.completion_ids[:4] == a.generation.completion_ids


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_an_agent_answers_in_order_whatever_its_batch_size(make_policy, requests, batch):
    asked = requests(5)[::-1]  # longest prompt first
    whole = make_policy().agent("attacker").act(asked)
    parts = make_policy(generation_batch=batch).agent("attacker").act(asked)
    assert [r.text for r in parts] == [r.text for r in whole]
    assert [r.generation.prompt_ids for r in parts] == [r.generation.prompt_ids for r in whole]
    assert len({r.text for r in whole}) == 5


def test_an_agent_draws_from_the_path_of_each_request_only(make_policy, requests):
    agent = make_policy().agent("attacker")
    first, again, other = agent.act(requests()), agent.act(requests()), agent.act(requests(run=1))
    assert [r.text for r in first] == [r.text for r in again]
    assert all(a.text != b.text for a, b in zip(first, other, strict=True))
    assert agent.act([]) == []


def test_a_reply_repeats_neither_the_prompt_nor_the_prefill(make_policy, requests):
    reply = make_policy().agent("attacker").act(requests(1, prefill="<think> "))[0]
    codec = make_policy().codec
    assert codec.decode(reply.generation.prompt_ids).endswith("<think> ")
    assert reply.text == codec.decode(reply.generation.completion_ids)
    assert len(reply.generation.completion_ids) <= 10
