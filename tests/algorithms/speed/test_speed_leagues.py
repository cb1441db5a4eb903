"""The part ``leagues`` of ``speed``: past versions are really played, and both runs are whole."""

import json

import pytest
import tiny_models
import torch
from speed_sides import inside

from agents.lora.policy import LoraPolicy
from algorithms.speed import leagues, worker
from redteam_env.cli.main import main


def test_every_row_comes_out_and_every_version_is_played(tmp_path, monkeypatch, capsys):
    played, recorded = [], []
    past, record = LoraPolicy.past_agent, leagues.train_recorded

    def past_agent(policy, role, directory, **named):
        played.append((role, directory.name))
        return past(policy, role, directory, **named)

    def train_recorded(config, output):
        done = record(config, output)
        recorded.append(json.loads(output.read_text()))
        return done

    monkeypatch.setattr(worker, "side", inside)
    monkeypatch.setattr(LoraPolicy, "past_agent", past_agent)
    monkeypatch.setattr(leagues, "train_recorded", train_recorded)
    threads = torch.get_num_threads()
    model = str(tiny_models.save_tiny(tmp_path / "tiny"))
    sizes = "--games 2 --few-games 2 --sampled 2 --versions 3 --repeats 1 --rank 2".split()  # noqa: SIM905 - as typed
    assert main(["speed", "--json", "--part", "leagues", "--model", model, *sizes]) == 0
    torch.set_num_threads(threads)
    rows = {x["what"]: x for x in json.loads(capsys.readouterr().out)["rows"]}
    versions = {f"{role}@{k}" for role in ("attacker", "defender") for k in range(3)}
    assert {name for _, name in played} == versions
    assert all(name.startswith(role) for role, name in played)
    assert {x["steps"] for x in recorded} == {5}
    ratio = rows["peak memory, league of 3 past versions a seat / self-play"]
    peaks = [rows[f"{x}: peak"]["value"] for x in ("league of 3 past versions a seat", "self-play")]
    assert ratio["value"] == pytest.approx(peaks[0] / peaks[1])
    assert rows["time, training in bench / training"]["budget"] == 1.03
