"""Which backend a policy gets, and what is said if it cannot be had."""

import pytest

from agents.lora import backend
from agents.lora.backend import HfBackend
from agents.lora.config import LARGEST_ENGINE_RANK, PolicyConfig
from agents.lora.policy import lora
from agents.lora.vllm_engine import RANKS, VllmEngine
from redteam_env.game import RedteamError


def test_the_trainers_own_model_samples_by_default(make_policy):
    policy = make_policy()
    assert isinstance(policy.backend, HfBackend)
    assert policy.exact_sampler
    policy.close()


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared_full"])
def test_in_half_precision_the_sampler_is_not_exact(tiny_model, requests, arrangement):
    config = PolicyConfig(
        model=str(tiny_model), arrangement=arrangement, device="cpu", dtype="bfloat16"
    )
    policy = lora(config, seed=0)
    assert not policy.exact_sampler
    rows = [reply.generation for reply in policy.agent("attacker").act(requests())]
    found = policy.logprobs("attacker", rows)
    gaps = [
        abs(float(own) - stored)
        for row, logprobs in zip(rows, found.logprobs, strict=True)
        for stored, own in zip(row.logprobs, logprobs, strict=False)
    ]
    assert max(gaps) > 1e-4, "more than an exact sampler is allowed"


def test_missing_vllm_is_named_with_its_cure_before_the_model_is_loaded(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    config = PolicyConfig(model="no/such-model", backend="vllm")
    with pytest.raises(RedteamError, match=r"pip install 'redteam-env\[vllm\]'"):
        lora(config, seed=0)


def test_one_of_several_trainers_is_sent_to_servers(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RedteamError, match="--backend served"):
        VllmEngine("a model", [0], cuda=False)


def test_the_largest_rank_is_that_of_the_engine():
    assert max(RANKS) == LARGEST_ENGINE_RANK
