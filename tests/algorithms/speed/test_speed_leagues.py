"""The part ``leagues`` of ``speed``: past versions are really played, and both runs are whole."""

import json

import pytest
import tiny_models
import torch
from speed_sides import inside

from agents.lora.policy import LoraPolicy
from algorithms.speed import leagues, worker
from algorithms.training.trainer import train
from redteam_env.cli.main import main


def test_every_row_comes_out_and_every_version_is_played(tmp_path, monkeypatch, capsys):
    played, runs = [], {"bench": [], "by itself": []}
    past = LoraPolicy.past_agent

    def past_agent(policy, role, directory, **named):
        played.append((role, directory.name))
        return past(policy, role, directory, **named)

    def inline(root, every, executor, work, report):  # a process takes seconds to start
        for task in every:
            assert work(task) == "done"
            runs["bench"].append(json.loads((root / task.output).read_text()))

    def by_itself(config):
        outcome = train(config)
        runs["by itself"].append({"steps": outcome.steps, "config": config.flat()})

    monkeypatch.setattr(worker, "side", inside)
    monkeypatch.setattr(LoraPolicy, "past_agent", past_agent)
    monkeypatch.setattr(leagues, "run_tasks", inline)
    monkeypatch.setattr(leagues, "_STEPS", 5)
    monkeypatch.setattr(leagues, "by_itself", by_itself)
    threads = torch.get_num_threads()
    model = str(tiny_models.save_tiny(tmp_path / "tiny"))
    sizes = "--games 2 --few-games 2 --sampled 2 --versions 3 --repeats 1 --rank 2".split()  # noqa: SIM905 - as typed
    assert main(["speed", "--json", "--part", "leagues", "--model", model, *sizes]) == 0
    torch.set_num_threads(threads)
    rows = {x["what"]: x for x in json.loads(capsys.readouterr().out)["rows"]}
    versions = {f"{role}@{k}" for role in ("attacker", "defender") for k in range(3)}
    assert {name for _, name in played} == versions
    assert all(name.startswith(role) for role, name in played)
    assert [[x["steps"] for x in found] for found in runs.values()] == [[5, 5]] * 2
    places = ("out", "resume", "json")
    first, second = (
        {k: v for k, v in found[0]["config"].items() if k not in places} for found in runs.values()
    )
    assert first == second
    ratio = rows["peak memory, league of 3 past versions a seat / self-play"]
    peaks = [rows[f"{x}: peak"]["value"] for x in ("league of 3 past versions a seat", "self-play")]
    assert ratio["value"] == pytest.approx(peaks[0] / peaks[1])
    ratio = rows["time, bench / training, a run of 10 games, with the start of its process"]
    assert ratio["budget"] == 1.03
