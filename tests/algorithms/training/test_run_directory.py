"""When a run directory may be written to: never over something that is there."""

import json

import pytest
from training_fakes import contents

from algorithms.training.rundir import open_run
from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.runs import Run


def test_a_run_that_exists_is_refused_without_resume_and_left_untouched(tiny_config, run):
    before = contents(run, ".")
    for options in ({}, {"steps": 5}, {"arrangement": "shared", "rank": 2}):
        with pytest.raises(RedteamError, match=rf"{run}.*holds a run already.*--resume.*--out"):
            train(tiny_config(**options))
    assert contents(run, ".") == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_with_something_else_is_refused(tiny_config, tmp_path, resume):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(RedteamError, match=r"not empty.*--out"):
        train(tiny_config(resume=resume))
    assert contents(tmp_path / "run", ".") == {"thesis.txt": b"years of work"}


def test_a_file_in_the_place_of_the_directory_is_refused(tiny_config, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RedteamError, match=r"is a file.*--out"):
        train(tiny_config())


def test_an_empty_directory_is_used(tiny_config, tmp_path):
    (tmp_path / "run").mkdir()
    assert open_run(tiny_config()).path == tmp_path / "run"


def test_looking_writes_nothing(tiny_config, tmp_path):
    open_run(tiny_config())
    assert list(tmp_path.iterdir()) == []


def test_without_out_the_run_is_named_after_arrangement_and_seed(
    tiny_config, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(out=None, steps=1, arrangement="shared", seed=3)
    assert str(train(config).directory) == "runs/shared-3"
    assert Run(tmp_path / "runs" / "shared-3").stored_config()["seed"] == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1}', '{"config": {}}'])
def test_a_garbled_configuration_is_an_error_that_names_the_file(tiny_config, run, content):
    (run / "config.json").write_text(content)
    before = contents(run, ".")
    with pytest.raises(RedteamError, match=r"config\.json"):
        train(tiny_config(resume=True))
    assert contents(run, ".") == before


def test_a_configuration_of_another_version_is_refused(tiny_config, run):
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(RedteamError, match=r"schema 99.*version"):
        train(tiny_config(resume=True))


def test_options_that_only_say_how_far_and_how_often_may_change(tiny_config, run):
    train(tiny_config(steps=3, checkpoint_every=7, json=True, resume=True))
    stored = Run(run).stored_config()
    assert (stored["steps"], stored["checkpoint_every"]) == (3, 7)


def test_what_is_not_there_is_not_resumed_and_the_nearest_is_named(
    tiny_config, arguments, tmp_path, capsys
):
    train(tiny_config(steps=1))
    wrong = str(tmp_path / "rum")
    assert main(arguments("--resume", out=wrong)) == 2
    said = capsys.readouterr().err
    assert f"'{wrong}' holds no run to resume. Did you mean '{tmp_path / 'run'}'?" in said
    assert not (tmp_path / "rum").exists()
