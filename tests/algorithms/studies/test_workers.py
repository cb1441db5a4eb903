"""Pieces of work in real processes: in order, once, and with a clear end when something fails."""

import os
import signal
import threading
import time
from functools import partial

import pytest
import worker_fakes
from worker_fakes import Job

from algorithms.studies.workers import Workers
from redteam_env.game import RedteamError


@pytest.fixture
def pool(tmp_path):
    work = partial(worker_fakes.work, str(tmp_path))
    return lambda count: Workers(tmp_path, count, work, alone=worker_fakes.wants_own)


@pytest.fixture
def press(tmp_path):
    """Press Ctrl-C once a file is there, and again once the next one is; Python's own answer to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def pressed(*names):
        def watch():
            for name in names:
                while not (tmp_path / name).exists():
                    time.sleep(0.02)
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=watch, daemon=True).start()

    yield pressed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def quiet(*_):
    return None


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_each_piece_is_done_once_everything_it_needs_exists_and_never_again(pool, tmp_path):
    jobs = [Job("c", needs=("a.txt", "b.txt")), Job("b", needs=("a.txt",)), Job("a")]
    said = []
    assert pool(2).run(jobs, lambda *x: said.append(x))
    assert said == [("starting", 0, 3), ("a", 1, 3), ("b", 2, 3), ("c", 3, 3)]
    before = {job.title: (tmp_path / job.output).read_text() for job in jobs}
    assert all(text.endswith(" 1") for text in before.values())  # one thread each
    (tmp_path / "b.txt").unlink()
    said.clear()
    assert pool(2).run(jobs, lambda *x: said.append(x))
    assert said == [("starting", 2, 3), ("b", 3, 3)]
    assert (tmp_path / "c.txt").read_text() == before["c"]


def test_a_failed_piece_is_one_error_after_which_the_rest_can_go_on(pool, tmp_path):
    jobs = [Job("a", does="fail"), Job("b", needs=("a.txt",)), Job("c")]
    with pytest.raises(RedteamError, match=r"^a: diverged$"):
        pool(1).run(jobs, quiet)
    assert not (tmp_path / "b.txt").exists()
    assert pool(1).run([Job("a"), *jobs[1:]], quiet)


@pytest.mark.parametrize("alone", [False, True])
def test_a_process_that_was_killed_is_one_error_that_says_what_to_do(pool, tmp_path, alone):
    jobs = [Job("a"), Job("b", needs=("a.txt",), does="die", alone=alone)]
    with pytest.raises(RedteamError, match=r"worker process ended.*kept.*same command.*--workers"):
        pool(2).run(jobs, quiet)
    assert (tmp_path / "a.txt").exists()


def test_a_fault_of_the_program_itself_is_not_hidden(pool):
    with pytest.raises(ZeroDivisionError, match="a fault"):
        pool(1).run([Job("a", does="err")], quiet)


def test_a_need_that_nothing_makes_is_an_error_and_no_endless_wait(pool):
    with pytest.raises(RedteamError, match=r"^b needs files that nothing makes"):
        pool(2).run([Job("b", needs=("a.txt",))], quiet)


def test_a_piece_that_wants_a_process_of_its_own_shares_it_with_no_other(pool, tmp_path):
    jobs = [
        Job("a"),
        Job("b", alone=True),
        Job("c"),
        Job("d", needs=("b.txt",), alone=True),
        Job("e", needs=("d.txt",)),
    ]

    def pid(job):
        return int((tmp_path / job.output).read_text().split()[0])

    alive = []

    def report(title, *_):
        if title == "e":
            alive.extend(x for x in jobs if x.alone and not gone(pid(x)))

    assert pool(2).run(jobs, report)
    own, shared = ({pid(x) for x in jobs if x.alone is alone} for alone in (True, False))
    assert len(own) == 2
    assert not own & shared
    assert len(shared) <= 2
    assert alive == []  # such a process ends with its piece, so that it holds no memory


@pytest.mark.parametrize("alone", [False, True])
def test_ctrl_c_ends_the_work_unfinished_and_it_goes_on_from_there(pool, tmp_path, press, alone):
    jobs = [Job("a"), Job("b", needs=("a.txt",), alone=alone, does="wait")]
    press("waiting")
    said = []
    assert pool(1).run(jobs, lambda title, *_: said.append(title)) is False
    assert said == ["starting", "a", "stopping after the current steps"]
    assert not (tmp_path / "b.txt").exists()
    assert pool(1).run([jobs[0], Job("b")], quiet)


def test_a_second_ctrl_c_stops_at_once(pool, press):
    press("waiting", "pressed")
    with pytest.raises(KeyboardInterrupt):
        pool(1).run([Job("a", does="hang")], quiet)


def test_work_can_be_done_outside_the_main_thread(pool):
    found = []
    run = threading.Thread(target=lambda: found.append(pool(1).run([Job("a")], quiet)))
    run.start()
    run.join()
    assert found == [True]
