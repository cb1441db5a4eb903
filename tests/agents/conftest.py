"""Tiny models on disk, made once, and what the tests of `agents` play with."""

import copy
import dataclasses
import functools
from pathlib import Path

import pytest
from tiny_models import SPECIAL, save_tiny

from agents.lora.config import PolicyConfig
from agents.lora.policy import LoraPolicy
from agents.models import LoadedModel, load_base
from redteam_env.protocols import TurnRequest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A tiny random Qwen2 directory with opinions: its next-token distributions are not flat."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", scale=0.15)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory) -> Path:
    """A model of the same shape with other weights."""
    return save_tiny(tmp_path_factory.mktemp("models") / "other", seed=1, scale=0.15)


@pytest.fixture(scope="session")
def make_policy(tiny_model):
    """Return a maker of fresh policies on the tiny model."""

    @functools.cache
    def loaded(model: str) -> LoadedModel:
        return load_base(model, device="cpu")

    def make(arrangement: str = "bipolicy", *, seed: int = 0, **options) -> LoraPolicy:
        settings = {"model": str(tiny_model), "rank": 4, "max_new_tokens": 10, "device": "cpu"}
        config = PolicyConfig(arrangement=arrangement, **{**settings, **options})
        base = loaded(config.model)  # copied: adapters are put on the model itself
        own = dataclasses.replace(base, model=copy.deepcopy(base.model))
        return LoraPolicy(config, own, seed=seed)

    return make


@pytest.fixture(scope="session")
def requests():
    """Return turn requests with prompts of very different lengths."""

    def make(n: int = 5, role: str = "attacker", run: int = 0, prefill: str = ""):
        return [
            TurnRequest(
                seat=f"{role}_0",
                role=role,
                messages=[
                    {"role": "system", "content": "s" * (1 + 7 * k)},
                    {"role": "user", "content": f"hello {k}"},
                ],
                path=(run, "game", k, role),
                prefill=prefill,
            )
            for k in range(n)
        ]

    return make


@pytest.fixture(params=sorted(SPECIAL))
def style(request) -> str:
    """Every style of chat template."""
    return request.param
