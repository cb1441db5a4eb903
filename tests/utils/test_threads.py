import threading

import pytest

from redteam_env.utils.threads import Background, stop_event

PATIENCE_S = 30


def test_work_is_done_in_order_by_one_other_thread():
    with Background("aside") as aside:
        for k in range(5):
            aside.submit(lambda k: (k, threading.current_thread()), k)
        results = aside.results()
    assert [k for k, _ in results] == list(range(5))
    (worker,) = {thread for _, thread in results}
    assert worker is not threading.current_thread()
    assert not worker.is_alive()


def fail():
    raise ValueError("made to fail")


def test_after_a_failure_nothing_more_is_done_and_its_error_is_raised():
    done = []
    with Background("aside") as aside:
        aside.submit(fail)
        aside.submit(done.append, 1)
        with pytest.raises(ValueError, match="made to fail"):
            aside.results()
        aside.submit(done.append, 2)
    assert done == []


def test_a_check_never_waits_and_raises_an_error_once_it_is_there():
    release, released = threading.Event(), threading.Event()

    def work():
        release.wait(PATIENCE_S)
        released.set()
        fail()

    with Background("aside") as aside:
        aside.submit(work)
        aside.check()
        release.set()
        with pytest.raises(ValueError, match="made to fail"):
            aside.results()
        with pytest.raises(ValueError, match="made to fail"):
            aside.check()
    assert released.is_set()


def test_leaving_by_an_error_stops_the_running_work_and_drops_the_rest():
    running, seen = threading.Event(), []

    def work():
        running.set()
        seen.append(stop_event().wait(PATIENCE_S))

    def use():
        with Background("aside") as aside:
            aside.submit(work)
            aside.submit(seen.append, "never")
            running.wait(PATIENCE_S)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert seen == [True]


def test_nobody_waits_after_ctrl_c_and_the_thread_ends_by_itself():
    running, release, workers = threading.Event(), threading.Event(), []

    def work():
        workers.append(threading.current_thread())
        running.set()
        release.wait(PATIENCE_S)

    def use():
        with Background("aside") as aside:
            aside.submit(work)
            running.wait(PATIENCE_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert workers[0].is_alive()
    release.set()
    workers[0].join(PATIENCE_S)
    assert not workers[0].is_alive()


def test_each_caller_outside_has_a_stop_event_of_its_own():
    one, other = stop_event(), stop_event()
    one.set()
    assert not other.is_set()
