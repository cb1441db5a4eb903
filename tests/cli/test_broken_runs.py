"""Run directories that are empty, half-written, running, damaged or of another version.

Each command that reads a run gives a right result or one line that says what, where and what to do.
"""

import json
import subprocess
import sys
import time

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.runs import Run

GAMES = "episodes/step-000001.jsonl"
ROWS = "metrics.jsonl"


@pytest.fixture
def run(tmp_path, capsys):
    """A run of two steps with two games each, as training leaves it."""
    words = ["--seeds", "words", "--judge", "words", "--attacker", "echo", "--defender", "harm"]
    assert main(["play", *words, "--games", "2", "--json"]) == 0
    games = list(map(Episode.from_json, capsys.readouterr().out.splitlines()))
    made = Run(tmp_path / "runs" / "one")
    made.path.mkdir(parents=True)
    made.write_record({"config": {"judge": "words", "steps": 2}, "versions": {}})
    for step in range(2):
        made.add_row({"step": step, "game/attack_success": 1.0, "attacker/reward": 0.5})
        made.write_episodes(step, games)
    return made


def cut(run, file, by=40):
    content = (run.path / file).read_bytes()
    (run.path / file).write_bytes(content[:-by])


def break_middle(run, file):
    first, *rest = (run.path / file).read_text().splitlines(keepends=True)
    (run.path / file).write_text("".join([f"{first[:30]}\n", *rest]))


def rewritten(run, change):
    rows = [json.loads(x) for x in (run.path / ROWS).read_text().splitlines()]
    (run.path / ROWS).write_text("".join(f"{json.dumps(change(x))}\n" for x in rows))


READERS = {
    "list": ["runs", "list", "{runs}"],
    "show": ["runs", "show", "{run}"],
    "show --json": ["runs", "show", "{run}", "--json"],
    "diff": ["runs", "diff", "{run}", "{run}"],
    "report": ["report", "{run}", "-o", "{out}"],
    "rejudge": ["rejudge", "{run}", "--judge", "words"],
}


def read(run, how):
    places = {"runs": run.path.parent, "run": run.path, "out": run.path.parent / "report.html"}
    return main([word.format_map(places) for word in READERS[how]])


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("tail", [b"", b"\xc3"])
def test_a_last_game_that_is_cut_off_is_left_out_and_told(run, how, tail, capsys):
    cut(run, GAMES)
    (run.path / GAMES).write_bytes((run.path / GAMES).read_bytes() + tail)
    assert read(run, how) == 0
    output = capsys.readouterr()
    said = output.out + output.err
    if how == "report":
        said = (run.path.parent / "report.html").read_text()
        assert "3 games" in output.out
        assert "The last game of step 2 is half-written and left out." in said
    elif how == "show --json":
        found = json.loads(output.out)
        assert found["rates"]["games"] == 3
        assert found["left_out"] == [f"Line 2 of {str(run.path / GAMES)!r}"]
    else:
        assert f"Line 2 of {str(run.path / GAMES)!r} is half-written and left out" in said


@pytest.mark.parametrize("how", ["list", "show", "show --json", "diff", "report"])
def test_a_last_row_that_is_cut_off_is_left_out_and_told(run, how, capsys):
    cut(run, ROWS)
    assert read(run, how) == 0
    output = capsys.readouterr().out
    if how == "report":
        page = (run.path.parent / "report.html").read_text()
        assert "The last line of metrics.jsonl is half-written" in page
    elif how == "show --json":
        assert json.loads(output)["step"] == 1
        assert json.loads(output)["left_out"] == [f"Line 2 of {str(run.path / ROWS)!r}"]
    else:
        assert f"Line 2 of {str(run.path / ROWS)!r} is half-written and left out" in output


@pytest.mark.parametrize("file", [GAMES, ROWS])
@pytest.mark.parametrize("how", ["show", "diff", "rejudge"])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(run, how, file, capsys):
    if file == ROWS and how == "rejudge":  # which reads games alone
        pytest.skip("reads no metrics")
    break_middle(run, file)
    assert read(run, how) == 2
    error = capsys.readouterr().err
    assert f"Line 1 of {str(run.path / file)!r}" in error
    assert error.count("\n") == 1


def test_a_list_names_a_broken_line_beside_the_runs_that_can_be_read(run, capsys):
    break_middle(run, GAMES)
    assert read(run, "list") == 0
    assert f"Line 1 of {str(run.path / GAMES)!r}" in capsys.readouterr().out


@pytest.mark.parametrize("how", [x for x in READERS if x != "list"])
@pytest.mark.parametrize(
    ("config", "part"),
    [
        ('{"schema": 0, "config": {}}', "has schema 0; this version reads 1. Use the version"),
        ('{"schema": 1, "conf', "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_another_schema_and_half_a_config_are_one_line(run, how, config, part, capsys):
    (run.path / "config.json").write_text(config)
    assert read(run, how) == 2
    error = capsys.readouterr().err
    assert part in error
    assert str(run.path / "config.json") in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x: dict.fromkeys(x, float("nan")) | {"step": x["step"]},
        lambda x: dict.fromkeys(x, float("-inf")) | {"step": x["step"]},
        lambda x: dict.fromkeys(x, "<b>") | {"step": x["step"]},
        lambda x: {key: [{}] for key in x} | {"step": x["step"]},
        lambda x: {"step": x["step"]} if x["step"] else x,
    ],
    ids=["nan", "infinity", "text", "nested", "missing"],
)
@pytest.mark.parametrize("how", READERS)
def test_odd_metrics_stop_no_reader(run, how, change, capsys):
    rewritten(run, change)
    assert read(run, how) == 0
    output = capsys.readouterr().out
    assert "NaN" not in output
    assert "Infinity" not in output


@pytest.mark.parametrize("how", READERS)
def test_a_run_that_has_begun_has_nothing_to_show_yet(run, how, capsys):
    for file in (run.path / ROWS, *(run.path / "episodes").iterdir()):
        file.unlink()
    (run.path / "episodes").rmdir()
    assert read(run, how) == (2 if how == "rejudge" else 0)
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    if how == "rejudge":
        assert "has no games under episodes; train it further" in output.err


@pytest.mark.parametrize("how", [x for x in READERS if x != "list"])
def test_an_empty_directory_is_one_line(tmp_path, how, capsys):
    empty = Run(tmp_path / "runs" / "empty")
    empty.path.mkdir(parents=True)
    assert read(empty, how) == 2
    error = capsys.readouterr().err
    assert str(empty.path) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "config",
    [{"model_type": "llama"}, {"architectures": ["X"]}, {"schema": 1, "model_type": "llama"}],
)
def test_a_list_passes_over_models(run, config, capsys):
    model = run.path.parent / "exported"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    assert main(["runs", "list", str(run.path.parent)]) == 0
    assert "exported" not in capsys.readouterr().out
    assert main(["runs", "show", str(model)]) == 2
    assert "holds a model and no run" in capsys.readouterr().err


def test_a_run_that_another_process_appends_to_can_be_read_at_any_time(run, capsys):
    row = json.dumps({"step": 2, "attacker/reward": 0.5})
    code = (
        "import os, sys, itertools\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n"
        "line = (sys.argv[2] + chr(10)).encode()\n"
        "for k in itertools.count():\n"
        "    os.write(file, line[k % len(line) : k % len(line) + 1])\n"
    )
    place = str(run.path / ROWS)
    writer = subprocess.Popen([sys.executable, "-c", code, place, row])
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert read(run, "show --json") == 0
            assert json.loads(capsys.readouterr().out)["steps"] == 2
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("command", [["evaluate"], ["crossplay"]])
@pytest.mark.parametrize("half", [False, True])
def test_a_run_without_a_whole_checkpoint_plays_nothing_and_says_why(run, command, half, capsys):
    pytest.importorskip("torch")
    if half:
        (run.path / "checkpoints" / "step-000001").mkdir(parents=True)
    words = ["--seeds", "words", "--games", "2"]
    assert main([*command, str(run.path), *words]) == 2
    error = capsys.readouterr().err
    told = "manifest.json' cannot be read" if half else "has no checkpoint yet; train it"
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "crossplay"])
def test_a_list_in_the_place_of_a_setting_is_named(run, command, capsys):
    run.write_record({"config": {"judge": ["x"]}, "versions": {}})
    assert main([command, str(run.path), "--seeds", "words", "--games", "2"]) == 2
    error = capsys.readouterr().err
    assert f"The config.json of {str(run.path)!r} has ['x'] as judge, which is one value" in error
    assert error.count("\n") == 1


def test_two_runs_with_versions_that_are_none_are_one_line(run, capsys):
    run.write_record({"config": {"judge": "words"}, "versions": 3})
    assert read(run, "diff") == 2
    assert "has no object under 'versions'" in capsys.readouterr().err
