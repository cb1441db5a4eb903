"""The work of a part: every need has a maker, nothing is done twice, failures and Ctrl-C end it well."""

import json
import signal
import threading
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from experiment_doubles import tiny_experiment

from algorithms.studies import workers
from algorithms.studies.experiments import runner
from algorithms.studies.experiments.reading import read_experiment
from algorithms.studies.experiments.runner import run_part
from algorithms.studies.experiments.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    Layout,
    arm_options,
    run_config,
    tasks,
)
from redteam_env.game import RedteamError

TINY, CLAIMS = tiny_experiment(), read_experiment("claims")
PARTS = [(made, name) for made in (TINY, CLAIMS) for name in made.parts]
EVERY = pytest.mark.parametrize(("made", "name"), PARTS, ids=lambda x: getattr(x, "name", x))


@EVERY
def test_whatever_a_task_needs_another_one_makes_before(made, name):
    done = set()
    for task in tasks(made, made.part(name)):
        assert set(task.needs) <= done, task.title
        done.add(task.output)


@EVERY
def test_no_two_tasks_leave_the_same_file_or_train_in_the_same_place(made, name):
    found = tasks(made, made.part(name))
    outputs = [x.output for x in found]
    assert len(set(outputs)) == len(outputs)
    layout = Layout(Path("root"))
    places = [layout.run(x.part, x.arm, x.seed) for x in found if x.kind in {TRAIN, ATTACK}]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("made", [TINY, CLAIMS], ids=lambda x: x.name)
def test_parts_share_only_the_training_of_defenders_that_are_attacked(made):
    owner = {}
    for part in made.parts.values():
        for task in tasks(made, part):
            if task.output in owner:
                assert (task.kind, task.part) == (TRAIN, part.against)
            owner[task.output] = part.name


def kinds(found, kind):
    return sorted((x.arm, x.seed) for x in found if x.kind == kind)


def test_every_arm_is_trained_and_measured_with_every_seed_and_the_base_once():
    found = tasks(TINY, TINY.part("arms"))
    runs = [(arm, seed) for arm in ("bipolicy", "shared") for seed in (0, 1)]
    assert kinds(found, TRAIN) == runs
    assert kinds(found, MEASURE) == [("base", -1), *runs]
    assert kinds(found, CROSS) == [("", 0), ("", 1)]
    assert kinds(found, GRADIENTS) == [("shared", 0), ("shared", 1)]
    cross = next(x for x in found if x.kind == CROSS)
    assert set(cross.needs) == {Layout.record("arms", TRAIN, arm, s, "json") for arm, s in runs}


def test_a_tuned_arm_is_trained_after_its_options_were_chosen_on_seeds_of_their_own():
    found = tasks(TINY, TINY.part("rates"))
    tried = [x for x in found if x.part == "rates-tuning"]
    assert {(x.arm, x.seed) for x in tried} == {("one", 100), ("five", 100)}
    (choose,) = (x for x in found if x.kind == CHOOSE)
    assert set(choose.needs) == {x.output for x in tried if x.kind == MEASURE}
    tuned = [x for x in found if x.arm == "tuned" and x.kind == TRAIN]
    assert [x.seed for x in tuned] == [0]
    assert all(choose.output in x.needs for x in tuned)


def test_every_defender_of_the_other_part_and_the_base_is_attacked_and_nothing_else_is_trained():
    found = tasks(CLAIMS, CLAIMS.part("best_response"))
    arms = {x.arm for x in found if x.kind == ATTACK}
    assert arms == set(CLAIMS.part("arms").arms) - {"attacker_only"}
    assert {x.arm for x in found if x.kind == TRAIN} == arms - {"base"}
    assert kinds(found, ATTACK) == kinds(found, RESPOND)
    found = tasks(TINY, TINY.part("best_response"))
    assert kinds(found, ATTACK) == [("base", 0), ("fast", 0)]
    assert kinds(found, TRAIN) == [("fast", 0)]


def test_a_tuned_arm_has_the_chosen_options(tmp_path):
    layout = Layout(tmp_path)
    task = next(x for x in tasks(TINY, TINY.part("rates")) if (x.kind, x.arm) == (TRAIN, "tuned"))
    with pytest.raises(RedteamError, match=r"tuned-0\.json.*run the part again"):
        arm_options(TINY, layout, "rates", "tuned")
    file = tmp_path / Layout.record("rates", CHOOSE, "tuned", 0, "json")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"chosen": "five", "options": {"arrangement": "shared", "rank": 3}}))
    config = run_config(TINY, layout, task)
    assert (config.policy.rank, config.policy.arrangement, config.run.seed) == (3, "shared", 0)
    assert config.run.out == str(tmp_path / "runs" / "rates" / "tuned" / "seed-0")
    file.write_text("{}")
    with pytest.raises(RedteamError, match=r"tuned-0\.json"):
        run_config(TINY, layout, task)


def test_a_candidate_has_its_own_options(tmp_path):
    task = next(x for x in tasks(TINY, TINY.part("rates")) if (x.kind, x.arm) == (TRAIN, "five"))
    config = run_config(TINY, Layout(tmp_path), task)
    assert config.learner.attacker_lr == 2.5e-3
    assert config.run.out == str(tmp_path / "runs" / "rates-tuning" / "five" / "seed-100")


def test_half_written_files_are_no_records(tmp_path):
    folder = tmp_path / "records" / "arms" / MEASURE
    folder.mkdir(parents=True)
    for name in ("shared-0.parquet", ".shared-1.parquet.partial"):
        (folder / name).touch()
    assert [x.name for x in Layout(tmp_path).records("arms", MEASURE)] == ["shared-0.parquet"]
    assert Layout(tmp_path).records("rates", MEASURE) == []


class Inline:
    """Stands for the pool of processes: runs each task when it is submitted."""

    workers: ClassVar[list[int]] = []

    def __init__(self, workers, **_):
        self.workers.append(workers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, do, *arguments):
        future = Future()
        try:
            future.set_result(do(*arguments))
        except (RedteamError, BrokenProcessPool, ZeroDivisionError) as error:
            future.set_exception(error)
        return future


@pytest.fixture
def inline(monkeypatch, tmp_path):
    """Replace processes and work; returns the titles done, and a plan of what happens at a title."""
    done, plan = [], {}

    def do(source, root, task):
        assert root == str(tmp_path)
        assert all((tmp_path / name).is_file() for name in task.needs), task.title
        assert task.title not in done
        if task.title in plan:
            happens = plan[task.title]
            if isinstance(happens, str):
                return happens
            raise happens
        done.append(task.title)
        file = tmp_path / task.output
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return "done"

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(workers, "_do", lambda work, piece: work(piece))
    monkeypatch.setattr(runner, "_do", do)
    return done, plan


@pytest.mark.parametrize("name", TINY.parts)
def test_a_part_is_done_in_an_order_in_which_everything_needed_exists(inline, tmp_path, name):
    part, said = TINY.part(name), []
    assert run_part(TINY, tmp_path, 2, part, lambda *x: said.append(x))
    titles = sorted(x.title for x in tasks(TINY, part))
    assert sorted(inline[0]) == titles
    assert sorted(title for title, *_ in said[1:]) == titles
    n = len(titles)
    assert [x[1:] for x in said] == [(k, n) for k in range(n + 1)]


def test_what_is_done_is_not_done_again(inline, tmp_path, monkeypatch):
    done, _ = inline
    run = partial(run_part, TINY, tmp_path, 2, TINY.part("arms"))
    assert run(lambda *_: None)
    first = list(done)
    done.clear()
    lost = tmp_path / Layout.record("arms", MEASURE, "shared", 1)
    lost.unlink()
    assert run(lambda *_: None)
    assert done == ["arms: measure shared seed 1"]
    said = []
    monkeypatch.setattr(workers, "ProcessPoolExecutor", None)  # no process is started at all
    assert run(lambda *x: said.append(x))
    assert said == [("starting", len(first), len(first))]


def test_a_failed_task_is_one_error_after_which_the_rest_can_go_on(inline, tmp_path):
    done, plan = inline
    plan["arms: train shared seed 0"] = RedteamError("arms: train shared seed 0: diverged")
    run = partial(run_part, TINY, tmp_path, 1, TINY.part("arms"))
    with pytest.raises(RedteamError, match=r"^arms: train shared seed 0: diverged$"):
        run(lambda *_: None)
    assert done == []
    plan.clear()
    assert run(lambda *_: None)


def test_a_worker_that_was_killed_is_one_error_that_says_what_to_do(inline, tmp_path):
    _, plan = inline
    plan["arms: measure shared seed 0"] = BrokenProcessPool("killed")
    with pytest.raises(RedteamError, match=r"worker process ended.*kept.*same command.*--workers"):
        run_part(TINY, tmp_path, 2, TINY.part("arms"), lambda *_: None)


def test_a_worker_that_was_killed_between_two_tasks_is_the_same_error(
    inline, tmp_path, monkeypatch
):
    def broken(*_):
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(Inline, "submit", broken)
    with pytest.raises(RedteamError, match=r"worker process ended"):
        run_part(TINY, tmp_path, 2, TINY.part("arms"), lambda *_: None)


def test_a_fault_of_the_program_itself_is_not_hidden(inline, tmp_path):
    _, plan = inline
    plan["arms: measure shared seed 0"] = ZeroDivisionError("a fault")
    with pytest.raises(ZeroDivisionError, match="a fault"):
        run_part(TINY, tmp_path, 2, TINY.part("arms"), lambda *_: None)


def test_a_need_that_nothing_makes_is_an_error_and_no_endless_wait(inline, tmp_path, monkeypatch):
    found = [x for x in tasks(TINY, TINY.part("arms")) if x.kind != TRAIN]
    monkeypatch.setattr(runner, "tasks", lambda *_: found)
    with pytest.raises(RedteamError, match="needs files that nothing makes"):
        run_part(TINY, tmp_path, 2, TINY.part("arms"), lambda *_: None)


def test_ctrl_c_ends_the_part_unfinished_and_it_goes_on_from_there(inline, tmp_path, monkeypatch):
    done, plan = inline
    plan["arms: train bipolicy seed 0"] = "interrupted"
    wait = workers.wait
    presses = iter([False, False, True])

    def waiting(*arguments, **options):
        if next(presses, False):
            signal.raise_signal(signal.SIGINT)
        return wait(*arguments, **options)

    monkeypatch.setattr(workers, "wait", waiting)
    said = []
    run = partial(run_part, TINY, tmp_path, 1, TINY.part("arms"))
    before = signal.getsignal(signal.SIGINT)
    assert run(lambda *x: said.append(x[0])) is False
    assert signal.getsignal(signal.SIGINT) is before
    assert said[-1] == "stopping after the current steps"
    assert done == ["arms: train shared seed 0", "arms: measure shared seed 0"]
    plan.clear()
    assert run(lambda *_: None)
    assert len(done) == len(tasks(TINY, TINY.part("arms")))


def test_a_second_ctrl_c_stops_at_once(inline, tmp_path, monkeypatch):
    def waiting(*_, **__):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(workers, "wait", waiting)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_part(TINY, tmp_path, 1, TINY.part("arms"), lambda *_: None)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_part_can_be_run_outside_the_main_thread(inline, tmp_path):
    found = []
    part = TINY.part("best_response")
    run = threading.Thread(
        target=lambda: found.append(run_part(TINY, tmp_path, 1, part, lambda *_: None))
    )
    run.start()
    run.join()
    assert found == [True]


def test_no_more_processes_are_started_than_there_is_work_for(inline, tmp_path):
    Inline.workers.clear()
    run_part(TINY, tmp_path, 64, TINY.part("best_response"), lambda *_: None)
    assert Inline.workers == [5]
