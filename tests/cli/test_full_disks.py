"""A disk that is full while games are kept is told of once, and what was measured is printed all the same."""

import json

import pytest

from redteam_env.cli.main import main
from redteam_env.protocols import Reply
from redteam_env.testing import faults


class Filling:
    """Answers; a disk is full from its second call on, until another one."""

    def __init__(self, when, until):
        self.calls = 0
        self._when, self._until = when, until

    def act(self, requests):
        self.calls += 1
        self._when.since = 1 if 2 <= self.calls < self._until else None
        return [Reply(text=f"HARM {hash(x.path) % 100}") for x in requests]


@pytest.fixture
def playing(plugins, capsys):
    """Runs a command on a disk that is full until some call of an agent; returns its exit code and what it said."""

    def played(arguments, out, until=0):
        when = faults.When()
        plugins("agents", "watched", lambda role: Filling(when, until))
        with faults.faulty_disk(out, when):
            code = main([*arguments, "--out", str(out)])
        assert (when.failed > 0) == (until > 0)
        return code, capsys.readouterr()

    return played


def files(folder):
    """Return what each file of games of a folder holds, and what was measured."""
    found = {x.relative_to(folder).as_posix(): x.read_text() for x in folder.rglob("*.jsonl")}
    return {**found, "result": json.loads((folder / "report.json").read_text())["result"]}


def test_a_disk_that_stays_full_costs_no_measurement(keeping_command, playing, tmp_path):
    _, whole = playing(keeping_command, tmp_path / "whole")
    code, said = playing(keeping_command, tmp_path / "out", until=1000)
    assert code == 2
    assert said.out == whole.out
    assert said.err.count("cannot be written (No space left on device)") == 1
    assert "Warning: " in said.err
    assert "are lost if this is interrupted" in said.err
    assert said.err.count("could not be written: [Errno 28] No space left on device") == 1
    code, _ = playing(keeping_command, tmp_path / "out")  # there is room again
    assert code == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_disk_that_is_full_for_a_while_costs_nothing(keeping_command, playing, tmp_path):
    playing(keeping_command, tmp_path / "whole")
    code, said = playing(keeping_command, tmp_path / "out", until=3)
    assert code == 0
    assert said.err.count("cannot be written") == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")
