"""The main job: trains both roles, evaluates before and after, prints the comparison, writes the run."""

import json

import pytest
from tiny_models import save_tiny

from redteam_env.cli.main import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(model):
    return ["quickstart", "--model", str(model), "--steps", "2", "--games", "4"]


def test_quickstart_compares_before_and_after_and_writes_the_run(place, capsys):
    assert main(small(save_tiny(place / "model"))) == 0
    text = capsys.readouterr().out
    for part in ("untrained", "trained", "difference", "Attack success rate", "smoke runs only"):
        assert part in text
    run = place / "runs" / "quickstart"
    assert (run / "config.json").is_file()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert (run / "checkpoints" / "step-000002" / "manifest.json").is_file()
    assert len(list((run / "episodes").glob("*.jsonl"))) == 2


def test_a_second_quickstart_repeats_the_first_and_overwrites_nothing(place, capsys):
    model = save_tiny(place / "model")
    assert main([*small(model), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*small(model), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first["run"], second["run"]) == ("runs/quickstart", "runs/quickstart-2")
    assert first["before"] == second["before"]
    assert first["differences"] == second["differences"]
    other = place / "notes"
    other.mkdir()
    (other / "keep.txt").write_text("mine")
    assert main([*small(model), "--out", str(other)]) == 2
    assert (other / "keep.txt").read_text() == "mine"
    assert "notes" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.registry
def test_quickstart_on_the_real_model_ends(place, capsys):
    assert main(["quickstart", "--steps", "1", "--games", "4"]) == 0
    assert "Attack success rate" in capsys.readouterr().out
