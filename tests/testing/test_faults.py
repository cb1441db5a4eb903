"""Faults come when they are told to, and in the way that was asked for."""

import contextlib
import errno
import io
import itertools
import json
import multiprocessing
import os
import signal
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from redteam_env import Dialogue, RedteamError, Reply
from redteam_env.game import ATTACKER, Line
from redteam_env.judges.recorded import always
from redteam_env.testing import faults
from redteam_env.utils.files import write_aside, write_text, written_folder

DIALOGUES = [Dialogue(lines=(Line(seat=ATTACKER, text=str(k)),)) for k in range(3)]


def failing(when, calls=10):
    return [k for k in range(1, calls + 1) if when.due()]


def test_the_nth_call_fails_or_all_from_it_on_or_a_share():
    assert failing(faults.When(at=3)) == [3]
    assert failing(faults.When(since=8)) == [8, 9, 10]
    assert failing(faults.When()) == []
    assert failing(faults.When(rate=1.0)) == list(range(1, 11))
    some = failing(faults.When(rate=0.3, seed=1), 1000)
    assert 240 < len(some) < 360
    assert some == failing(faults.When(rate=0.3, seed=1), 1000)
    assert some != failing(faults.When(rate=0.3, seed=2), 1000)
    counted = faults.When(at=2)
    failing(counted)
    assert (counted.calls, counted.failed) == (10, 1)


@pytest.mark.parametrize("wrong", [{"at": 1, "since": 2}, {"at": 0}, {"since": -1}, {"rate": 1.5}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(RedteamError, match="give"):
        faults.When(**wrong)


def test_a_judge_fails_in_thirteen_ways_and_otherwise_judges():
    assert len(faults.JUDGE_FAULTS) == 13
    for how in faults.JUDGE_FAULTS:
        judge = faults.FaultyJudge(always(), faults.When(at=2), how)
        sound = judge.judge(DIALOGUES)
        assert sound == always().judge(DIALOGUES)
        try:
            spoilt = judge.judge(DIALOGUES)
        except (faults.FaultError, TimeoutError):
            assert how in {"raises", "times_out"}
        else:
            assert spoilt != sound
            if how == "coroutine":
                spoilt.close()
        assert judge.judge(DIALOGUES) == sound
        assert (judge.name, judge.smoke_only) == ("always", True)
    with pytest.raises(RedteamError, match="Did you mean 'raises'"):
        faults.FaultyJudge(always(), faults.When(), "raise")


class Speaks:
    def act(self, requests):
        return [Reply(text="yes") for _ in requests]


def test_an_agent_fails_in_its_ways_and_otherwise_plays():
    for how in faults.AGENT_FAULTS:
        agent = faults.FaultyAgent(Speaks(), faults.When(at=1), how)
        try:
            spoilt = agent.act([None, None])
        except (faults.FaultError, TimeoutError):
            assert how in {"raises", "times_out"}
        else:
            assert spoilt != [Reply(text="yes")] * 2
            if how == "coroutine":
                spoilt.close()
        assert agent.act([None, None]) == [Reply(text="yes")] * 2


def ask(url):
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps({"messages": []}).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_a_server_fails_in_its_ways_and_otherwise_answers():
    for how in faults.SERVER_FAULTS:
        with faults.FaultyServer(lambda _: "no", when=faults.When(at=2), how=how) as server:
            assert ask(server.url)["choices"][0]["message"]["content"] == "no"
            if how in {"error_in_200", "no_choices"}:
                assert not ask(server.url).get("choices")
            else:
                with pytest.raises((OSError, ValueError, HTTPException)):
                    ask(server.url)
            assert ask(server.url)["choices"][0]["message"]["content"] == "no"


def test_a_clock_jumps_and_deadlines_do_not():
    before, steady = time.time(), time.monotonic()
    with faults.faulty_clock(faults.When(at=2), jump=-3600):
        assert time.time() >= before
        assert time.time() < before - 3000
        assert time.time_ns() / 1e9 < before - 3000
        assert time.monotonic() >= steady
    assert time.time() >= before


def touch_everything(folder):
    """Use every way to a file once."""
    (folder / "in").mkdir()
    (folder / "in" / "text").write_text("text")
    with (folder / "in" / "bytes").open("ab", buffering=0) as file:
        file.write(b"bytes")
        os.fsync(file.fileno())
    (folder / "in" / "bytes").rename(folder / "in" / "renamed")
    handle = os.open(folder / "in" / "numbered", os.O_WRONLY | os.O_CREAT)
    try:
        os.write(handle, b"numbered")
        os.fsync(handle)
    finally:
        os.close(handle)
    save_file({"a": np.zeros(3, dtype=np.float32)}, folder / "in" / "tensors")
    with (folder / "in" / "text").open("r+") as both:
        both.read()
        both.write("more")


def test_every_way_to_a_file_is_counted_and_fails_once(tmp_path):
    failed = []
    for n in itertools.count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        ended = contextlib.suppress(OSError, SafetensorError)
        with ended, faults.faulty_disk(folder, faults.When(at=n)) as disk:
            touch_everything(folder)
        failed += disk.failed
        if not disk.failed:
            break
    kinds = [operation for operation, _ in failed]
    assert len(failed) == disk.when.calls
    assert {*kinds} == {"open", "write", "fsync", "rename", "mkdir"}
    written = [Path(place).name for kind, place in failed if kind == "write"]
    assert {"text", "bytes", "tensors"} <= {*written}
    assert (folder / "in" / "text").read_text() == "textmore"
    assert (folder / "in" / "renamed").read_text() == "bytes"
    assert load_file(folder / "in" / "tensors")["a"].tolist() == [0, 0, 0]


def test_what_lies_elsewhere_is_left_alone(tmp_path):
    (tmp_path / "there").mkdir()
    with faults.faulty_disk(tmp_path / "here", faults.When(since=1)) as disk:
        touch_everything(tmp_path / "there")
        assert io.StringIO("x").read() == "x"
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "here").mkdir()
    assert disk.failed == [("mkdir", str(tmp_path / "here"))]
    (tmp_path / "here").mkdir()


def test_a_write_that_fails_is_half_done_and_says_what_was_asked_for(tmp_path):
    with (
        faults.faulty_disk(tmp_path, faults.When(at=2), number=errno.EROFS),
        pytest.raises(OSError, match="Read-only"),
        (tmp_path / "a").open("wb", buffering=0) as file,
    ):
        file.write(b"12345678")
    assert (tmp_path / "a").read_bytes() == b"1234"


def power_cut(folder, n):
    with faults.faulty_disk(folder, faults.When(at=n), crash=True):
        write_text(folder / "a", "new" * 100)


def test_a_power_cut_at_any_operation_leaves_the_old_file_or_the_new_one(tmp_path):
    seen = set()
    write_text(tmp_path / "a", "old" * 100)
    for n in itertools.count(1):
        process = multiprocessing.get_context("fork").Process(target=power_cut, args=(tmp_path, n))
        process.start()
        process.join()
        text = (tmp_path / "a").read_text()
        assert text in {"old" * 100, "new" * 100}
        seen.add(text)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert len(seen) == 2
    assert [x.name for x in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_at_any_operation_leaves_the_old_folder_or_the_new_one(tmp_path):
    def write(text):
        with write_aside(tmp_path / "place") as partial:
            partial.mkdir()
            (partial / "one").write_text(text)
            (partial / "two").write_text(text)

    write("old")
    for n in itertools.count(1):
        full = faults.faulty_disk(tmp_path, faults.When(since=n))
        with contextlib.suppress(OSError), full as disk:
            write("new")
        found = {x.read_text() for x in written_folder(tmp_path / "place").iterdir()}
        assert len(found) == 1
        if not disk.failed:
            break
    assert found == {"new"}
    assert [x.name for x in tmp_path.iterdir()] == ["place"]
