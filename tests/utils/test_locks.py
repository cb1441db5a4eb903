"""Two processes never write into one directory of results."""

import os
import signal
import subprocess
import sys

import pytest

from redteam_env import RedteamError
from redteam_env.cli.main import main
from redteam_env.utils.files import LOCK
from redteam_env.utils.locks import held

HOLDER = """
import sys, time
from pathlib import Path
from redteam_env.utils.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    place = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield place, process
        process.kill()


def test_the_second_is_refused_with_the_id_and_start_of_the_first(holder):
    place, process = holder
    said = rf"'.*run' is in use by process {process.pid} on '.+' since '\d{{4}}-\d\d-\d\d .+'; wait"
    with pytest.raises(RedteamError, match=said), held(place):
        pass
    with pytest.raises(RedteamError, match=said), held(place):  # and stays so
        pass


def test_the_system_lets_go_of_what_a_killed_process_held(holder):
    place, process = holder
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (place / LOCK).exists()
    with held(place):
        pass
    assert not (place / LOCK).exists()


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with held(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()
    with held(tmp_path / "run"):
        (tmp_path / "run" / "rows").write_text("one")
    assert [x.name for x in (tmp_path / "run").iterdir()] == ["rows"]


def test_a_lock_of_an_error_is_released(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError
    with held(tmp_path):
        pass


@pytest.mark.parametrize(
    "torn", ["", "{", "[]", '{"pid": "x"}', "\x00", "[" * 900, '{"pid": 1}' + " " * 2000]
)
def test_a_holder_that_has_not_said_who_it_is_holds_all_the_same(tmp_path, torn):
    with held(tmp_path):
        (tmp_path / LOCK).write_text(torn)
        with pytest.raises(RedteamError, match="in use by another process"), held(tmp_path):
            pass


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RedteamError, match=r"is a file; give another directory as --out"):  # noqa: SIM117
        with held(tmp_path / "file"):
            pass


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--world", "apothecary", "--out"],
        [
            "train",
            "--world",
            "apothecary",
            "--algorithm",
            "sb3_ppo",
            "--arrangement",
            "attacker_only",
            "--out",
        ],
        ["quickstart", "--out"],
        ["bench", "--quick", "--algorithms", "grpo", "--out"],
        ["experiment", "claims", "--out"],
    ],
    ids=["train", "train sb3", "quickstart", "bench", "experiment"],
)
def test_case_32_a_second_run_in_one_directory_is_refused(tmp_path, command, capsys):
    with held(tmp_path):
        assert main([*command, str(tmp_path)]) == 2
    assert f"is in use by process {os.getpid()} on" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_games_are_not_judged_again_for_a_directory_in_use(tmp_path, capsys):
    played, out = tmp_path / "played", tmp_path / "judged"
    words = ["--attacker", "echo", "--defender", "refuse", "--judge", "lexical", "--games", "4"]
    assert main(["evaluate", *words, "--out", str(played)]) == 0
    again = ["rejudge", str(played), "--judge", "always", "--out", str(out)]
    with held(out):
        assert main(again) == 2
    assert f"is in use by process {os.getpid()} on" in capsys.readouterr().err
    assert main(again) == 0
    assert (out / "report.json").is_file()
    assert not (out / LOCK).exists()
