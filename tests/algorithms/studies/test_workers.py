"""Pieces of work in real processes: some share one, some have one that does nothing else."""

import os
import signal
import threading
import time
from functools import partial

import pytest
import worker_doubles
from worker_doubles import Job

from algorithms.studies import workers
from algorithms.studies.workers import Workers


@pytest.fixture
def pool(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "_prepare", worker_doubles.prepare)
    work = partial(worker_doubles.work, str(tmp_path))
    return lambda count: Workers(tmp_path, count, work, alone=worker_doubles.wants_own)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_piece_that_wants_a_process_of_its_own_shares_it_with_no_other(pool, tmp_path):
    jobs = [
        Job("a"),
        Job("b", alone=True),
        Job("c"),
        Job("d", needs=("b.txt",), alone=True),
        Job("e", needs=("d.txt",)),
    ]
    alive = []

    def report(title, *_):
        own = [tmp_path / f"{name}.txt" for name in "bd"]
        alive.extend(x for x in own if x.exists() and title == "e" and not gone(int(x.read_text())))

    assert pool(2).run(jobs, report)
    pids = {job.title: (tmp_path / job.output).read_text() for job in jobs}
    shared = {pids[x] for x in "ace"}
    assert len({pids["b"], pids["d"]}) == 2
    assert not {pids["b"], pids["d"]} & shared
    assert len(shared) <= 2
    assert alive == []  # such a process ends with its piece, so that it holds no memory


def test_ctrl_c_reaches_a_process_that_a_piece_has_for_itself(pool, tmp_path):
    def press():
        while not (tmp_path / "waiting").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    assert pool(1).run([Job("a", alone=True, waits=True)], lambda *_: None) is False
    assert not (tmp_path / "a.txt").exists()
