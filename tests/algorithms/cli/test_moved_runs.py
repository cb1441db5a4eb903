"""A run is gone on with and measured from whichever directory the command is called in."""

import json

import pytest

from redteam_env.cli.main import main
from redteam_env.runs import Run
from redteam_env.trust import allow
from redteam_env.utils.files import read_json

SEEDS = "text,harmful,split\n" + "".join(
    f"{word} {split} {k},{harmful},{split}\n"
    for split in ("train", "heldout")
    for k in range(8)
    for word, harmful in (("good", 0), ("bad", 1))
)
MEASURED = ["evaluate", "--attacker", "echo", "--games", "4", "--out", "result"]


@pytest.fixture
def begun(tmp_path, tiny_options, monkeypatch):
    """A run of one step whose seeds lie where it was started; returns its command."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "x.csv").write_text(SEEDS)
    monkeypatch.chdir(home)
    given = {**tiny_options, "steps": 1, "seeds": "x.csv", "out": str(tmp_path / "run")}
    del given["json"]
    words = [word for x, y in given.items() for word in (f"--{x.replace('_', '-')}", str(y))]
    assert main(["train", *words, "--json"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return words


@pytest.mark.parametrize("repeated", [False, True])
def test_case_38_a_run_with_relative_paths_goes_on_from_elsewhere(
    begun, tmp_path, repeated, capsys
):
    run = Run(tmp_path / "run")
    before = run.record()
    words = begun if repeated else ["--out", str(run.path)]
    words = [*words, "--steps", "2", "--resume", "--json"]
    assert main(["train", *words]) == 0
    after = run.record()
    assert len(run.rows()) == 2
    assert after["config"] == {**before["config"], "steps": 2}
    assert after["started_in"] == str(tmp_path / "home")


def test_case_38_it_is_measured_from_elsewhere_with_its_own_seeds(begun, tmp_path, capsys):
    (tmp_path / "elsewhere" / "x.csv").write_text("another")
    assert main([*MEASURED, "--defender", str(tmp_path / "run")]) == 0
    report = read_json(tmp_path / "elsewhere" / "result" / "report.json", remedy="")
    assert report["seeds"][0]["name"] == "x.csv"


def test_another_file_of_that_name_is_refused_on_resume(begun, tmp_path, capsys):
    (tmp_path / "elsewhere" / "x.csv").write_text(SEEDS.replace("good", "fine"))
    assert main(["train", *begun, "--steps", "2", "--resume"]) == 2
    assert "seeds.sha256" in capsys.readouterr().err


@pytest.mark.parametrize("metric", ["best_metric", "stop_metric"])
def test_a_metric_is_nothing_that_lies_outside_of_a_strangers_run(tmp_path, metric):
    allow(Run(tmp_path), {metric: "eval/score"})


@pytest.mark.parametrize("option", ["seeds", "prompts", "model", "adapter_dir"])
def test_a_strangers_run_is_resumed_with_what_lies_outside_only_if_the_user_names_it(
    begun, tmp_path, capsys, option
):
    run, place = Run(tmp_path / "run"), str(tmp_path / "home" / "x.csv")
    record = run.record()
    record["config"][option] = place
    (run.path / "config.json").write_text(json.dumps(record))
    assert main(["train", "--resume", "--out", str(run.path), "--steps", "2"]) == 2
    said = capsys.readouterr().err
    assert "not used unless you name it yourself" in said
    assert str(tmp_path) in said
    assert len(run.rows()) == 1


def test_a_link_in_a_run_is_not_written_through(begun, tmp_path, capsys):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    rows = tmp_path / "run" / "metrics.jsonl"
    rows.unlink()
    rows.symlink_to(mine)
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "2"]) == 2
    assert "by the link 'metrics.jsonl'" in capsys.readouterr().err
    assert mine.read_text() == "mine"
