"""A run that samples with vLLM: its first step is the hf run's, and it goes on after a cut."""

import json

import numpy as np
import pytest
from training_fakes import contents, metrics
from vllm_shared import OPTIONS, engine_model, running, share_engine

from agents.lora.policy import lora
from algorithms.training.trainer import train
from redteam_env.game import Episode

pytestmark = pytest.mark.vllm


@pytest.fixture
def config(monkeypatch, tiny_config):
    """Return a maker of bipolicy runs on the shared engine."""
    share_engine(monkeypatch)
    model = {"model": str(engine_model()), "temperature": 0.8, "arrangement": "bipolicy"}
    return lambda **options: tiny_config(**{**OPTIONS, **model, "steps": 3, **options})


def episodes(run, step):
    lines = (run / "episodes" / f"step-{step:06d}.jsonl").read_text().splitlines()
    return [Episode.from_json(line) for line in lines]


def test_a_bipolicy_run_samples_from_each_update_and_starts_as_the_hf_run(config, tmp_path):
    given = config()
    assert train(given).finished
    assert running()._llm.llm_engine.list_loras() == set(), "the run gave its adapters back"
    rows = metrics(tmp_path / "run")
    for row in rows:
        for role in ("attacker", "defender"):
            assert row[f"{role}/sampler_gap"] < 2e-5
            assert row[f"{role}/importance"] == pytest.approx(1, abs=2e-5)
    for step in range(3):
        made = {
            (t.generation.adapter, t.generation.version)
            for e in episodes(tmp_path / "run", step)
            for t in e.turns
        }
        assert made == {("attacker", step), ("defender", step)}
    trainer = lora(config(backend="hf", out=str(tmp_path / "hf")).policy, seed=given.run.seed)
    for role in ("attacker", "defender"):
        turns = [t for e in episodes(tmp_path / "run", 0) for t in e.turns if t.seat == f"{role}_0"]
        found = [t.generation for t in turns]
        own = trainer.logprobs(role, found)
        sampled = np.concatenate([g.logprobs for g in found])
        assert np.abs(own.logprobs[own.mask].detach().numpy() - sampled).max() < 2e-5
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["backend"] == "vllm"


def test_a_resumed_run_plays_the_restored_weights(config, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config(out=str(whole)))
    train(config(out=str(cut), steps=2))
    outcome = train(config(out=str(cut), resume=True, kv_cache_gb=0.1))
    assert (outcome.played, outcome.finished) == (1, True)
    assert contents(cut, "episodes").keys() == contents(whole, "episodes").keys()
    for a, b in zip(episodes(cut, 2), episodes(whole, 2), strict=True):
        assert [t.text for t in a.turns] == [t.text for t in b.turns]
        assert {t.generation.version for t in a.turns} == {2}
    for a, b in zip(metrics(cut), metrics(whole), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def test_importance_sampling_finds_next_to_nothing_to_correct(config, tmp_path):
    train(config(importance_cap=2.0, steps=1))
    (row,) = metrics(tmp_path / "run")
    assert row["attacker/importance_capped"] == 0
    assert row["attacker/importance"] == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("arrangement", ["shared_full", "independent"])
def test_whole_models_are_sampled_from_each_update(config, tmp_path, arrangement):
    given = config(arrangement=arrangement, lr=1e-4)
    assert train(given).finished
    for step, row in enumerate(metrics(tmp_path / "run")):
        assert all(row[f"{role}/sampler_gap"] < 2e-5 for role in ("attacker", "defender"))
        turns = [t for e in episodes(tmp_path / "run", step) for t in e.turns]
        assert {t.generation.version for t in turns} == {step}
        assert {t.generation.adapter for t in turns} == set(given.policy.weights.values())
