"""The work of a part: every need has a maker, and nothing is done twice."""

from pathlib import Path

import pytest
from experiment_fakes import tiny_experiment

from algorithms.studies.experiments.reading import read_experiment
from algorithms.studies.experiments.tasks import Runs, tasks
from algorithms.studies.tasks import (
    ATTACK,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    outputs,
    run_directory,
)

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
    runs = [x for x in found if x.kind in {TRAIN, ATTACK}]
    places = [run_directory(Path("root"), x.arm, x.seed, part=x.part) for x in runs]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("made", [TINY, CLAIMS], ids=lambda x: x.name)
def test_parts_share_only_what_fresh_attackers_need_of_their_defenders(made):
    owner = {}
    for part in made.parts.values():
        for task in tasks(made, part):
            if task.output in owner:
                assert task.part == part.against
                assert task.kind in {TRAIN, MEASURE, CROSS}
            owner[task.output] = part.name


def kinds(found, kind):
    return sorted((x.arm, x.seed) for x in found if x.kind == kind)


def test_every_arm_is_trained_with_its_seeds_and_every_defender_measured_and_the_base_once():
    found = tasks(TINY, TINY.part("arms"))
    defenders = [(arm, seed) for arm in ("bipolicy", "shared", "static") for seed in (0, 1)]
    assert kinds(found, TRAIN) == sorted([*defenders, ("probe", 0), ("probe", 1)])
    assert kinds(found, MEASURE) == [("base", -1), *defenders]
    assert kinds(found, CROSS) == [("", 0), ("", 1)]
    assert kinds(found, GRADIENTS) == [("shared", 0), ("shared", 1)]
    found = tasks(TINY, TINY.part("rates"))
    assert kinds(found, TRAIN) == [("fast", 0), ("scripted", 0), ("scripted", 1)]


def test_crossplay_needs_the_runs_that_meet_and_the_strangers_alone():
    cross = next(x for x in tasks(TINY, TINY.part("arms")) if x.kind == CROSS)
    own = {f"records/arms/train/{x}-0.json" for x in ("probe", "static", "shared", "bipolicy")}
    assert set(cross.needs) == own | {
        f"records/arms/train/{x}-1.json" for x in ("shared", "bipolicy")
    }


def test_a_trained_opponent_is_trained_before_and_plays_from_its_run(tmp_path):
    found = tasks(TINY, TINY.part("arms"))
    run = next(x for x in found if (x.kind, x.arm, x.seed) == (TRAIN, "static", 1))
    assert run.needs == ("records/arms/train/probe-1.json",)
    config = Runs(TINY, tmp_path).config(run)
    assert config.run.opponent == str(tmp_path / "runs" / "arms" / "probe" / "seed-1")
    assert config.policy.arrangement == "defender_only"


def test_fresh_attackers_play_the_named_defenders_after_all_that_these_met(tmp_path):
    part = TINY.part("best_response")
    found = tasks(TINY, part)
    assert {x.arm for x in found if x.kind == ATTACK} == {"base", "static", "shared"}
    assert kinds(found, ATTACK) == kinds(found, RESPOND)
    respond = next(x for x in found if (x.kind, x.arm, x.seed) == (RESPOND, "shared", 0))
    assert set(respond.needs) == {
        "records/best_response/attack/shared-0.json",
        "records/arms/measure/shared-0.parquet",
        "records/arms/cross/seed-0.parquet",
    }
    attack = next(x for x in found if (x.kind, x.arm, x.seed) == (ATTACK, "shared", 0))
    config = Runs(TINY, tmp_path).config(attack)
    assert config.run.opponent == str(tmp_path / "runs" / "arms" / "shared" / "seed-0")
    assert (config.run.steps, config.policy.arrangement) == (1, "attacker_only")
    base = next(x for x in found if (x.kind, x.arm) == (ATTACK, "base"))
    assert Runs(TINY, tmp_path).config(base).run.opponent is None


def test_half_written_files_are_no_records(tmp_path):
    found = tasks(TINY, TINY.part("arms"))
    folder = tmp_path / "records" / "arms" / MEASURE
    folder.mkdir(parents=True)
    for name in ("shared-0.parquet", ".shared-1.parquet.partial"):
        (folder / name).touch()
    assert [x.name for x in outputs(tmp_path, found, MEASURE)] == ["shared-0.parquet"]
    assert outputs(tmp_path, found, CROSS) == []
