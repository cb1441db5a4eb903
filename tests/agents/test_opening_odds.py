"""How probable an answer's beginning is: the same number whoever asks, and however it is sampled."""

import math
from dataclasses import replace

import pytest

from redteam_env.game import RedteamError
from redteam_env.protocols import Scorer

TEXTS = ("sorry no", "cannot do", "so be it")


def disturbed(make_policy):
    import torch

    policy = make_policy("bipolicy")
    with torch.no_grad():
        for tensor in policy.parameters("defender"):
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)))
    policy.publish("defender")
    return policy


def by_hand(policy, request):
    """The log-odds out of the log-probability of each possible first token."""
    tokens = {policy.codec.content_ids(text)[0] for text in TEXTS}
    example = policy.encode_example("defender", request.messages, "x", prefill=request.prefill)
    rows = [replace(example, completion_ids=(t,), logprobs=(0.0,), temperature=1.0) for t in tokens]
    p = sum(math.exp(float(policy.logprobs("defender", [row]).logprobs[0, 0])) for row in rows)
    return math.log(p / (1 - p))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_odds_are_those_of_the_first_token_at_temperature_one(make_policy, requests, temperature):
    policy = disturbed(make_policy)
    agent = policy.agent("defender", temperature=temperature)
    assert isinstance(agent, Scorer)
    asked = requests(5, "defender")
    wanted = [by_hand(policy, request) for request in asked]
    assert agent.log_odds(asked, TEXTS) == pytest.approx(wanted, abs=1e-4)
    assert agent.log_odds(asked[::-1], TEXTS) == pytest.approx(wanted[::-1], abs=1e-4)
    assert agent.log_odds([], TEXTS) == []


def test_texts_that_begin_alike_count_once(make_policy, requests):
    agent = disturbed(make_policy).agent("defender")
    [one] = agent.log_odds(requests(1, "defender"), ["sorry"])
    [twice] = agent.log_odds(requests(1, "defender"), ["sorry", "sorry"])
    assert twice == one


def test_a_text_without_tokens_is_refused(make_policy, requests):
    with pytest.raises(RedteamError, match="has no token"):
        make_policy("bipolicy").agent("defender").log_odds(requests(1, "defender"), [""])
