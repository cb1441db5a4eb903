import json
import os

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.runs import Run
from redteam_env.utils.files import LOCK
from redteam_env.utils.locks import held


@pytest.fixture
def games(capsys):
    words = ["--seeds", "words", "--judge", "words", "--attacker", "echo", "--games", "4"]
    found = {}
    for defender in ("harm", "no"):
        assert main(["play", *words, "--defender", defender, "--json"]) == 0
        found[defender] = list(map(Episode.from_json, capsys.readouterr().out.splitlines()))
    return found


@pytest.fixture
def make(tmp_path, games):
    """Write a run as training leaves it."""

    def write(name, *, defender="harm", done=2, steps=2, checkpoints=(1, 2), **config):
        run = Run(tmp_path / "runs" / name)
        run.path.mkdir(parents=True)
        settings = {"arrangement": "bipolicy", "algorithm": "rloo", "steps": steps, **config}
        run.write_record({"config": settings, "versions": {}, "written": "2026-01-02T03:04:05"})
        for step in range(done):
            run.add_row({"step": step, "game/attack_success": 1.0})
            run.write_episodes(step, games[defender])
        for step in checkpoints:
            with run.new_checkpoint(step) as folder:
                (folder / "weights").write_bytes(b"x" * 1000)
        return run

    write.place = tmp_path / "runs"
    return write


def shown(capsys, *arguments):
    assert main(["runs", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_runs_are_listed_with_what_when_how_far_and_success(make, capsys):
    make("first", lr=0.1)
    make("deep/er", defender="no", steps=9, world="apothecary")
    lines = shown(capsys, "list", make.place).splitlines()
    (first,) = [x for x in lines if x.startswith("first")]
    assert "bipolicy, rloo" in first
    assert "2026-01-02 03:04" in first
    assert "2/2" in first
    assert "1.00 [" in first
    assert first.rstrip().endswith("done")
    (deep,) = [x for x in lines if x.startswith("deep/er")]
    assert "apothecary" in deep
    assert "2/9" in deep
    assert deep.rstrip().endswith("stopped")
    rows = json.loads(shown(capsys, "list", make.place, "--json"))
    assert [x["attack_success"]["rate"] for x in rows] == [0.0, 1.0]
    assert all(len(x["attack_success"]["interval"]) == 2 for x in rows)


def test_what_cannot_be_read_is_named_in_a_line_and_hides_no_other(make, capsys):
    make("whole")
    old = make("old")
    (old.path / "config.json").write_text('{"schema": 0, "config": {}}')
    half = make("half")
    (half.path / "config.json").write_text('{"schema": 1, "con')
    linked = make("linked")
    (linked.path / "secrets").symlink_to("/etc")
    out = shown(capsys, "list", make.place)
    assert any(x.startswith("whole") for x in out.splitlines())
    (line,) = [x for x in out.splitlines() if x.startswith(f"{old.path}: ")]
    assert "has schema 0; this version reads 1" in line
    (line,) = [x for x in out.splitlines() if x.startswith(f"{half.path}: ")]
    assert "cannot be read" in line
    assert f"{linked.path}: has links that lead out of it" in out


def test_a_run_that_is_being_trained_is_said_to_run_until_its_process_has_ended(make, capsys):
    run = make("now")
    with held(run.path):
        assert "running" in shown(capsys, "list", make.place)
        assert main(["runs", "clean", str(run.path), "--yes"]) == 2
        assert "is in use" in capsys.readouterr().err
    ended = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(ended, 0)
    left = {"pid": ended, "host": os.uname().nodename, "since": "then"}
    (run.path / LOCK).write_text(json.dumps(left))
    assert "running" not in shown(capsys, "list", make.place)


def test_a_run_is_shown_with_its_settings_checkpoints_and_rates(make, capsys):
    run = make("first", lr=0.25)
    out = shown(capsys, "show", run.path)
    assert "done, 2/2" in out
    assert any(x.split() == ["lr", "0.25"] for x in out.splitlines())
    assert "Checkpoints after step 1 (0.0 MB), 2 (0.0 MB)" in out
    assert "attack success (rewritten)" in out
    data = json.loads(shown(capsys, "show", run.path, "--json"))
    assert data["rates"]["attack_success"]["rate"] == 1.0
    assert [x["step"] for x in data["checkpoints"]] == [1, 2]


def test_what_a_run_is_comes_first_and_settings_last_those_that_are_not_the_defaults(make, capsys):
    run = make("mine", model="smollm2", judge="words", lr=0.25, kl=0.01)
    run.write_record({**run.record(), "replaced_defaults": {"model": "other", "lr": 0.1}})
    lines = shown(capsys, "show", run.path).splitlines()
    words = [x.split() for x in lines]
    places = [
        *(words.index(["model", "smollm2"]), words.index(["judge", "words"])),
        next(k for k, x in enumerate(lines) if x.startswith("Checkpoints")),
        next(k for k, x in enumerate(lines) if x.startswith("attack success (rewritten)")),
        words.index(["lr", "0.25", "0.1"]),
    ]
    assert places == sorted(places)
    assert not any(x[:1] == ["kl"] for x in words)
    every = [x.split() for x in shown(capsys, "show", run.path, "--all").splitlines()]
    assert ["kl", "0.01"] in every
    assert json.loads(shown(capsys, "show", run.path, "--json"))["record"]["config"]["kl"] == 0.01


def test_a_run_says_of_how_many_steps_its_rates_are(make, capsys):
    assert "The games of the last 2 steps:" in shown(capsys, "show", make("two").path)
    assert "The games of the last step:" in shown(capsys, "show", make("one", done=1).path)
    assert "The games of the last 5 steps:" in shown(capsys, "show", make("six", done=6).path)


def test_games_that_are_missing_are_told_of(make, capsys):
    run = make("some", done=3)
    (run.path / "episodes" / "step-000001.jsonl").unlink()
    out = shown(capsys, "show", run.path)
    assert "The games of the steps 1, 3:" in out
    assert f"No games of step 2 are in '{run.path}/episodes'." in out
    assert json.loads(shown(capsys, "show", run.path, "--json"))["games_missing"] == [1]
    for file in (run.path / "episodes").iterdir():
        file.unlink()
    out = shown(capsys, "show", run.path)
    assert "No games of step 1, 2, 3 are in" in out
    assert "attack success" not in out


def test_a_list_of_runs_has_their_models(make, capsys):
    make("first", model="smollm2")
    (line,) = [x for x in shown(capsys, "list", make.place).splitlines() if x.startswith("first")]
    assert "bipolicy, rloo" in line
    assert "smollm2" in line


def test_numbers_that_are_not_finite_are_null_in_json(make, capsys):
    run = make("odd")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "loss": NaN}\n')
    text = shown(capsys, "show", run.path, "--json")
    assert "NaN" not in text
    assert json.loads(text)["last"] == {"step": 2, "loss": None}


def test_two_runs_are_compared_in_settings_and_results(make, capsys):
    one, two = make("one", lr=0.1), make("two", defender="no", lr=0.2)
    out = shown(capsys, "diff", one.path, two.path)
    assert any(x.split() == ["lr", "0.1", "0.2"] for x in out.splitlines())
    assert "algorithm" not in out
    assert "-1.00 [" in out
    data = json.loads(shown(capsys, "diff", one.path, two.path, "--json"))
    assert data["settings"] == {"lr": [0.1, 0.2]}
    assert data["results"]["attack_success"]["difference"]["difference"] == -1.0


def test_cleaning_asks_and_keeps_what_resuming_needs(make, capsys, monkeypatch):
    run = make("long", checkpoints=(1, 2, 3))
    with run.new_checkpoint(2, "best") as folder:
        (folder / "weights").write_bytes(b"x")
    assert main(["runs", "clean", str(run.path)]) == 2
    assert "--yes removes 2 checkpoints" in capsys.readouterr().err
    monkeypatch.setattr("redteam_env.cli.runs.has_person", lambda: True)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    assert main(["runs", "clean", str(run.path)]) == 2
    assert [x.step for x in run.checkpoints()] == [1, 2, 3]
    assert "after step 1, 2. Kept: 3 and best" in shown(capsys, "clean", run.path, "--yes")
    assert [x.step for x in run.checkpoints()] == [3]
    assert run.latest().step == 3
    assert run.best().step == 2
    assert "Nothing to remove" in shown(capsys, "clean", run.path, "--yes")


def test_cleaning_removes_nothing_if_the_newest_checkpoint_is_damaged(make, capsys):
    run = make("cracked")
    (run.checkpoint_path(2) / "weights").write_bytes(b"y")
    assert main(["runs", "clean", str(run.path), "--yes"]) == 2
    assert "altered" in capsys.readouterr().err
    assert [x.step for x in run.checkpoints()] == [1, 2]


def test_cleaning_follows_no_link(make, capsys, tmp_path):
    precious = make("precious")
    run = make("linked", checkpoints=(2,))
    link = run.checkpoints_folder / "step-000001"
    link.symlink_to(precious.checkpoint_path(1))
    assert "is a link; it is left alone" in shown(capsys, "clean", run.path, "--yes")
    assert (precious.checkpoint_path(1) / "weights").is_file()
    (make.place / "alias").symlink_to(precious.path)
    assert main(["runs", "clean", str(make.place / "alias"), "--yes"]) == 2
    assert len(precious.checkpoints()) == 2
    assert "alias" not in shown(capsys, "list", make.place)


def test_what_is_no_run_is_refused_by_name(make, capsys, tmp_path):
    for verb in ("show", "clean"):
        assert main(["runs", verb, str(tmp_path)]) == 2
        assert "holds no run" in capsys.readouterr().err
    assert main(["runs", "list", str(tmp_path / "none")]) == 2
    assert "There is no directory" in capsys.readouterr().err
    assert "No runs in" in shown(capsys, "list", tmp_path)


def test_the_options_in_which_a_run_differs_from_its_recipe_are_shown(make, capsys):
    run = make("mine", recipe="abs_3b")
    rows = {"rank": {"recipe": 4, "run": 2}, "judge": {"recipe": None, "run": "words"}}
    run.write_record({**run.record(), "differs_from_recipe": rows})
    out = " ".join(shown(capsys, "show", run.path).split())
    assert "differs from the recipe rank 2 (recipe: 4), judge words (recipe: -)" in out
    assert json.loads(shown(capsys, "show", run.path, "--json"))["differs_from_recipe"] == rows


def test_a_run_says_whether_it_follows_its_recipe_only_if_it_has_one(make, capsys):
    run = make("mine", recipe="abs_3b")
    run.write_record({**run.record(), "differs_from_recipe": {}})
    assert "in nothing" in shown(capsys, "show", run.path)
    other = make("other")
    assert "differs from the recipe" not in shown(capsys, "show", other.path)
    assert json.loads(shown(capsys, "show", other.path, "--json"))["differs_from_recipe"] is None
