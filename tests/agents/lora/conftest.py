"""Engines without vLLM, for tests of what is published to engines."""

import copy
import dataclasses
import functools

import pytest
from engine_fakes import TwinEngine

from agents.models import load_base


@pytest.fixture(scope="session")
def twin(tiny_model):
    """Return a maker of engines on the tiny model, or on another."""
    loaded = functools.cache(functools.partial(load_base, device="cpu"))

    def make(model=None, **options) -> TwinEngine:
        base = loaded(str(model or tiny_model))  # copied: adapters are put on the model itself
        own = dataclasses.replace(base, model=copy.deepcopy(base.model))
        return TwinEngine(own, **{"stop_ids": (258,), **options})

    return make
