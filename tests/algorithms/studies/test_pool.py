"""Tasks in real processes: in order, once, and with a clear end when something fails."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pool_fakes
import pytest
from pool_fakes import DIE, DIE_ONCE, ERR, FAIL, HANG, LATE, WAIT

from algorithms.studies.executors import Processes, make_executor
from algorithms.studies.pool import run_tasks
from algorithms.studies.tasks import Task
from redteam_env.game import RedteamError


@pytest.fixture
def run(tmp_path):
    """Do tasks side by side; returns whether all are done."""
    work = partial(pool_fakes.work, str(tmp_path))
    return lambda count, every, say=quiet: run_tasks(tmp_path, every, Processes(count), work, say)


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


def task(name, *needs, kind="measure"):
    return Task(kind=kind, arm=name, seed=0).after(*needs)


A = task("a")
HERE = str(Path(__file__).parent)


def test_each_task_is_done_once_everything_it_needs_exists_and_never_again(run, tmp_path):
    b = task("b", A)
    every = [task("c", A, b), b, A]
    said = []
    assert run(2, every, lambda *x: said.append(x))
    titles = [x.title for x in (A, b, every[0])]
    assert said == [("starting", 0, 3), *((x, k, 3) for k, x in enumerate(titles, 1))]
    before = {x: (tmp_path / x.output).read_text() for x in every}
    assert all(text.endswith(" 1") for text in before.values())  # one thread each
    assert len({text.split()[0] for text in before.values()}) == 3  # and a process of its own
    (tmp_path / b.output).unlink()
    said.clear()
    assert run(2, every, lambda *x: said.append(x))
    assert said == [("starting", 2, 3), (b.title, 3, 3)]
    assert (tmp_path / every[0].output).read_text() == before[every[0]]


def test_a_failed_task_is_one_error_after_which_the_rest_can_go_on(run, tmp_path):
    bad = task("a", kind=FAIL)
    rest = [task("b", bad), task("c")]
    with pytest.raises(RedteamError, match=r"^a: diverged$"):
        run(1, [bad, *rest])
    assert not (tmp_path / rest[0].output).exists()
    assert run(1, rest[1:])


def test_a_task_whose_process_dies_is_done_once_more(run, tmp_path):
    said = []
    victim = task("b", A, kind=DIE_ONCE)
    assert run(2, [A, victim, task("c")], lambda title, *_: said.append(title))
    assert (tmp_path / victim.output).exists()
    assert [x for x in said if "its process died, so it is done once more" in x] == [
        f"{victim.title}: its process died, so it is done once more"
    ]


def test_a_task_whose_process_dies_twice_is_named_and_the_others_are_kept(run, tmp_path):
    victim, slow = task("b", A, kind=DIE), task("c")
    with pytest.raises(
        RedteamError, match=r"^die b seed 0: .*twice.*kept.*same command.*--workers"
    ):
        run(2, [A, victim, slow])
    assert (tmp_path / A.output).exists()
    assert (tmp_path / slow.output).exists()


def test_a_fault_of_the_program_itself_is_not_hidden(run):
    with pytest.raises(ZeroDivisionError, match="a fault"):
        run(1, [task("a", kind=ERR)])


def test_a_need_that_nothing_makes_is_an_error_and_no_endless_wait(run):
    with pytest.raises(RedteamError, match=r"^measure b seed 0 needs files that nothing makes"):
        run(2, [task("b", A)])


def test_ctrl_c_ends_the_work_unfinished_and_it_goes_on_from_there(run, tmp_path, press):
    waits = task("b", A, kind=WAIT)
    press("waiting")
    said = []
    assert run(1, [A, waits], lambda title, *_: said.append(title)) is False
    assert said == ["starting", A.title, "Ctrl-C: finishing the current steps; again to stop now"]
    assert not (tmp_path / waits.output).exists()
    assert run(1, [A, task("b", A)])


def test_a_second_ctrl_c_stops_at_once(run, press):
    press("waiting", "pressed")
    with pytest.raises(KeyboardInterrupt):
        run(1, [task("a", kind=HANG)])


def test_work_can_be_done_outside_the_main_thread(run):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(1, [A])))
    thread.start()
    thread.join()
    assert found == [True]


def make(name, folder, job=""):
    return make_executor(name, 2, job, folder)


CLUSTERS = [
    pytest.param("submitit", "cluster=local,timeout_min=5", id="submitit"),
    pytest.param("ray", "num_cpus=1", id="ray"),
]


@pytest.fixture(scope="module")
def here():
    """Ray with two processes on this machine, where it is installed."""
    try:
        import ray
    except ImportError:
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": HERE}},
    )
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "job"), CLUSTERS)
class TestClusters:
    """The same task function as jobs of submitit and as tasks of Ray."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch, here, name, job):
        pytest.importorskip(name)
        monkeypatch.setenv("PYTHONPATH", HERE)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        work = partial(pool_fakes.work, str(tmp_path))

        def run(every, say=quiet):
            executor = make(name, tmp_path / "jobs", job)
            return run_tasks(tmp_path, every, executor, work, say)

        return run

    def test_tasks_are_done_in_order_and_only_once(self, run, tmp_path):
        b = task("b", A)
        assert run([task("c", b), b, A])
        said = []
        assert run([task("c", b), b, A], lambda *x: said.append(x))
        assert said == [("starting", 3, 3)]

    def test_an_error_of_ours_arrives_as_it_was_raised(self, run):
        with pytest.raises(RedteamError, match=r"^a: diverged$"):
            run([task("a", kind=FAIL)])

    def test_a_task_whose_process_dies_twice_is_named(self, run, tmp_path):
        with pytest.raises(RedteamError, match=r"^die b seed 0: .*twice"):
            run([A, task("b", A, kind=DIE)])
        assert (tmp_path / A.output).exists()

    def test_a_wrong_option_of_a_job_is_one_line(self, tmp_path, run, name, job):
        with pytest.raises(RedteamError, match=f"job is wrong for {name}: .*gpuz"):
            make(name, tmp_path / "jobs", f"{job},gpuz=1")


@pytest.fixture
def on_submitit(tmp_path, monkeypatch):
    """Do tasks as jobs of submitit on this machine."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    work = partial(pool_fakes.work, str(tmp_path))
    executor = make("submitit", tmp_path / "jobs", "cluster=local,timeout_min=5")
    return lambda every, say: run_tasks(tmp_path, every, executor, work, say)


@pytest.mark.slow
def test_a_job_whose_time_is_over_goes_on_in_another(on_submitit):
    late, said = task("a", kind=LATE), []
    assert on_submitit([late], lambda title, *_: said.append(title))
    assert f"{late.title}: its process died, so it is done once more" in said


@pytest.mark.slow
def test_jobs_that_ctrl_c_cancels_are_not_said_to_have_died(on_submitit, press):
    press("waiting")
    said = []
    assert on_submitit([task("a", kind=WAIT)], lambda title, *_: said.append(title)) is False
    assert said == ["starting", "Ctrl-C: finishing the current steps; again to stop now"]


def test_processes_on_this_machine_take_no_options(tmp_path):
    with pytest.raises(RedteamError, match=r"job is 'num_gpus=1'.*--executor submitit or ray"):
        make("processes", tmp_path, "num_gpus=1")
    with pytest.raises(RedteamError, match=r"job has 'num_gpus'; write NAME=VALUE"):
        make("ray", tmp_path, "num_gpus")
