"""Tiny models on disk and tiny runs: a few short games of a model that is trained in milliseconds."""

import dataclasses
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_prompts, save_tiny
from training_fakes import CallbackJudge, PowerCutError, WordJudge, words_source

from agents.lora.config import PolicyConfig
from algorithms.reinforce_pp import ReinforcePPConfig
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.stopping import StoppingConfig
from algorithms.training.trainer import train
from redteam_env import GameConfig, registry

PARTS = {
    "run": RunConfig,
    "game": GameConfig,
    "policy": PolicyConfig,
    "learner": ReinforcePPConfig,
    "stopping": StoppingConfig,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A tiny random Qwen2 directory whose outputs can learn."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", scale=0.15)


@pytest.fixture(scope="session")
def prompts(tmp_path_factory) -> Path:
    """Instruction texts of a few bytes."""
    return save_prompts(tmp_path_factory.mktemp("prompts"))


def plug_in() -> None:
    registry.register("judges", "words", WordJudge)
    registry.register("seeds", "words", words_source)


@pytest.fixture(autouse=True)
def doubles():
    """Register a judge and a seed source under the name ``words``; returns a ``register`` that replaces."""
    plug_in()
    return partial(registry.register, replace=True)


@pytest.fixture(scope="session")
def tiny_options(tiny_model, prompts) -> dict[str, Any]:
    """The options of a tiny run, those of all components side by side."""
    return {
        "steps": 2,
        "games": 8,
        "checkpoint_every": 1,
        "preflight": 0,
        "json": True,
        "seeds": "words",
        "judge": "words",
        "prompts": str(prompts),
        "model": str(tiny_model),
        "rank": 4,
        "max_new_tokens": 6,
        "device": "cpu",
        "lr": 1e-3,
    }


def build(options: dict[str, Any]) -> TrainConfig:
    left = dict(options)
    parts = {}
    for name, kind in PARTS.items():
        names = {field.name for field in dataclasses.fields(kind)} & set(left)
        parts[name] = kind(**{field: left.pop(field) for field in names})
    assert not left, f"no such option: {sorted(left)}"
    return TrainConfig(**parts)


@pytest.fixture
def tiny_config(tiny_options, tmp_path) -> Callable[..., TrainConfig]:
    """Return a maker of tiny runs in ``tmp_path / "run"``, with any options changed."""

    def make(**options) -> TrainConfig:
        return build({**tiny_options, "out": str(tmp_path / "run"), **options})

    return make


@pytest.fixture(scope="session")
def finished(tiny_options, tmp_path_factory) -> Callable[..., Path]:
    """Return a maker of finished tiny runs, each trained once; not to be changed."""

    @cache
    def trained(**options) -> Path:
        out = tmp_path_factory.mktemp("runs") / "run"
        with registry.isolated():
            plug_in()
            train(TrainConfig.from_flat({**tiny_options, "out": str(out), **options}))
        return out

    return trained


@pytest.fixture(scope="session")
def two_steps(finished) -> Path:
    """A finished tiny run; not to be changed."""
    return finished()


@pytest.fixture
def run(two_steps, tmp_path) -> Path:
    """A copy of the finished tiny run, in ``tmp_path / "run"``."""
    return shutil.copytree(two_steps, tmp_path / "run")


@pytest.fixture
def arguments(tiny_config) -> Callable[..., list[str]]:
    """Return a maker of the command line of a tiny run, with further words behind it."""

    def make(*more: str, **options) -> list[str]:
        config = tiny_config(**options)
        words = ["train"]
        for part in (config.run, config.game, config.policy, config.learner):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                if value == field.default:
                    continue
                option = f"--{field.name.replace('_', '-')}"
                words += [option] if value is True else [option, str(value)]
        return [*words, *more]

    return make


@pytest.fixture
def crash_at(doubles):
    """Let the judge crash at its n-th call, once; returns the switch."""
    state = {"calls": 0, "at": None}

    def before():
        state["calls"] += 1
        if state["calls"] == state["at"]:
            raise PowerCutError

    doubles("judges", "fragile", lambda: CallbackJudge(before=before))

    def switch(call):
        state.update(calls=0, at=call)

    return switch
