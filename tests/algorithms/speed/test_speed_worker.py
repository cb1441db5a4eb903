"""Sides in processes of their own: they answer, take turns, fail by name, and never outlive us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import speed_sides as sides

from algorithms.speed.worker import side, take_turns
from redteam_env.game import RedteamError

SPEC = {"threads": 1, "start": 5}
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_side_answers_each_lap_and_its_prints_disturb_nothing():
    with side("counting", sides.counts, SPEC) as one:
        assert [one.lap().facts["number"] for _ in range(3)] == [6, 7, 8]


def test_sides_take_turns_and_first_laps_do_not_count():
    seen = []
    pair = {"a": (sides.counts, SPEC), "b": (sides.counts, {**SPEC, "start": 20})}
    turns = take_turns(pair, warm=1, laps=2, report=seen.append)
    first = next(turns)
    assert (first[0], len(seen)) == ("a", 5), "a side is told of before the others end"
    found = dict([first, *turns])
    assert seen == ["a", "b"] * 3
    assert [lap.facts["number"] for lap in found["a"]] == [7, 8]
    assert [lap.facts["number"] for lap in found["b"]] == [22, 23]


def test_the_processor_time_of_a_lap_is_its_own():
    with side("working", sides.works, SPEC) as one:
        for lap in (one.lap(), one.lap()):
            assert 0.04 <= lap.cpu_seconds <= lap.seconds + 0.02


def test_memory_is_the_peak_of_the_sides_own_process():
    with side("holding", sides.holds, SPEC) as one:
        first, second = one.lap().peak_gb, one.lap().peak_gb
    assert second - first == pytest.approx(0.1, rel=0.1)


def test_a_side_that_fails_is_named_with_its_last_words():
    with (
        side("TRL", sides.fails, SPEC) as one,
        pytest.raises(RedteamError, match="Measuring 'TRL' failed: ValueError: the last words"),
    ):
        one.lap()


def test_a_side_that_leaves_without_a_word_is_named_with_its_exit_code():
    with (
        side("TRL", sides.leaves, SPEC) as one,
        pytest.raises(RedteamError, match="'TRL' failed: exit code 3"),
    ):
        one.lap()


def test_a_side_that_was_killed_is_no_riddle():
    with (
        side("TRL", sides.dies, SPEC) as one,
        pytest.raises(RedteamError, match="'TRL' failed: exit code -9, perhaps for want of"),
    ):
        one.lap()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_leaving_the_block_ends_a_side_in_the_middle_of_its_work():
    with side("sleeping", sides.sleeps, SPEC) as one:
        one._process.stdin.write("go\n")
        one._process.stdin.flush()
    assert gone(one._process.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_side_does_not_outlive_a_parent_that_was_stopped(number):
    code = (
        "import speed_sides as s\nfrom algorithms.speed.worker import side\n"
        "with side('sleeping', s.sleeps, {'threads': 1}) as one:\n"
        "    print(one._process.pid, flush=True)\n    one.lap()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.send_signal(number)
        parent.wait(20)
    assert gone(pid)
