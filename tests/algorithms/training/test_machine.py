"""A full disk, a read-only one, too many open files, a directory that is gone: one line, and nothing is lost.

The disks are real where this process may mount some, and limits of the process (``ulimit``) elsewhere; faults
that are injected stand in ``test_every_fault.py``.
"""

import contextlib
import os
import resource
import shutil

import pytest
from small_disk import remount, small_disk
from training_fakes import CallbackJudge, contents, metrics

from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.runs import Run


@contextlib.contextmanager
def limited(what, most):
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@pytest.fixture
def at_judging(doubles):
    """Return a function that has something done before the n-th judgement of the judge ``meanwhile``."""
    plan = {}
    state = {"calls": 0}

    def before():
        state["calls"] += 1
        plan.get(state["calls"], lambda: None)()

    doubles("judges", "meanwhile", lambda: CallbackJudge(before=before))

    def switch(actions):
        state["calls"] = 0
        plan.clear()
        plan.update(actions)

    return switch


def only_line(capsys):
    captured = capsys.readouterr()
    lines = [x for x in captured.err.splitlines() if x]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


def same_as_whole(run, whole):
    for name in ("checkpoints", "episodes"):
        assert contents(run, name) == contents(whole, name)
    assert metrics(run) == metrics(whole)


def test_case_36_a_full_disk_is_one_line_that_says_what_is_safe_and_the_run_resumes(
    arguments, tiny_config, tmp_path, capsys
):
    whole = tmp_path / "whole"
    with small_disk(tmp_path / "disk", 2_500_000) as disk:
        options = {"steps": 40, "rank": 16, "out": str(disk / "run")}
        assert main(arguments(**options)) == 2
        line = only_line(capsys)
        done = Run(disk / "run").latest().step
        assert done >= 1
        assert "no space left on device" in line.lower()
        assert f"Safe is step {done}: " in line
        assert "Make room on that disk; then --resume goes on from there." in line
        assert main(arguments("--resume", **options)) == 2  # before the model is loaded
        assert "A checkpoint takes at least" in only_line(capsys)
        remount(disk, "size=64m")
        options["steps"] = done + 2
        assert main(arguments("--resume", **options)) == 0
        train(tiny_config(**{**options, "out": str(whole)}))
        same_as_whole(disk / "run", whole)


def test_case_36_a_limit_on_the_size_of_files_stands_for_a_full_disk(
    arguments, two_steps, tmp_path, capsys
):
    with limited(resource.RLIMIT_FSIZE, 50_000):  # the optimiser's tensors take more
        assert main(arguments()) == 2
    line = only_line(capsys)
    assert line.startswith("error: file too large")
    assert f"{str(tmp_path / 'run')!r} has no checkpoint yet." in line
    assert main(arguments("--resume")) == 0
    same_as_whole(tmp_path / "run", two_steps)


def test_a_disk_without_room_for_the_weights_is_refused_before_a_game(
    arguments, tmp_path, capsys, at_judging
):
    at_judging({1: lambda: pytest.fail("a game was played")})
    with small_disk(tmp_path / "disk", 20_480) as disk:
        assert main(arguments(judge="meanwhile", out=str(disk / "run"))) == 2
        assert "A checkpoint takes at least" in only_line(capsys)
        assert not list(disk.iterdir())


def test_a_full_disk_at_the_start_is_refused_before_the_model_is_loaded(
    arguments, tmp_path, capsys
):
    with small_disk(tmp_path / "disk", 65_536) as disk:
        with contextlib.suppress(OSError):
            (disk / "full").write_bytes(bytes(100_000))
        assert main(arguments(out=str(disk / "run"), model="no-such-model")) == 2
        assert "cannot be used (No space left on device)" in only_line(capsys)
        assert [x.name for x in disk.iterdir()] == ["full"]


def test_a_read_only_disk_is_refused_before_the_model_is_loaded(arguments, tmp_path, capsys):
    with small_disk(tmp_path / "disk", 65_536) as disk:
        remount(disk, "ro")
        assert main(arguments(out=str(disk / "run"), model="no-such-model")) == 2
        assert "cannot be used (Read-only file system); give another directory" in only_line(capsys)


def test_too_many_open_files_are_one_line_and_the_run_resumes(
    arguments, two_steps, tmp_path, capsys, at_judging
):
    held = []

    def use_up():
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))

    at_judging({2: use_up})
    with limited(resource.RLIMIT_NOFILE, 200):
        try:
            assert main(arguments(judge="meanwhile")) == 2
        finally:
            for number in held:
                os.close(number)
    line = only_line(capsys)
    assert "too many open files" in line
    assert "Raise the limit on open files (ulimit -n); then --resume goes on from there." in line
    at_judging({})
    assert main(arguments("--resume", judge="meanwhile")) == 0
    same_as_whole(tmp_path / "run", two_steps)


def test_a_directory_that_vanishes_is_one_line(arguments, tmp_path, capsys, at_judging):
    at_judging({2: lambda: shutil.rmtree(tmp_path / "run")})
    assert main(arguments(judge="meanwhile")) == 2
    line = only_line(capsys)
    assert "no such file or directory" in line
    assert f"{str(tmp_path / 'run')!r} is not there any more." in line


def test_what_a_killed_first_write_left_does_not_hold_the_directory(
    tiny_config, two_steps, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.json.partial").write_text('{"schema"')
    (run / ".lock").write_text("")
    train(tiny_config())
    same_as_whole(run, two_steps)
