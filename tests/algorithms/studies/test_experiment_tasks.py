"""The work of a part: every need has a maker, and nothing is done twice."""

import json
from pathlib import Path

import pytest
from experiment_fakes import tiny_experiment

from algorithms.studies.experiments.reading import read_experiment
from algorithms.studies.experiments.tasks import Runs, tasks
from algorithms.studies.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    outputs,
    run_directory,
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
    runs = [x for x in found if x.kind in {TRAIN, ATTACK}]
    places = [run_directory(Path("root"), x.arm, x.seed, part=x.part) for x in runs]
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
    assert set(cross.needs) == {f"records/arms/train/{arm}-{s}.json" for arm, s in runs}


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
    runs = Runs(TINY, tmp_path)
    task = next(x for x in tasks(TINY, TINY.part("rates")) if (x.kind, x.arm) == (TRAIN, "tuned"))
    with pytest.raises(RedteamError, match=r"tuned-0\.json.*Run the part again"):
        runs.config(task)
    file = tmp_path / "records" / "rates" / "choose" / "tuned-0.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"chosen": "five", "options": {"arrangement": "shared", "rank": 3}}))
    config = runs.config(task)
    assert (config.policy.rank, config.policy.arrangement, config.run.seed) == (3, "shared", 0)
    assert config.run.out == str(tmp_path / "runs" / "rates" / "tuned" / "seed-0")
    file.write_text("{}")
    with pytest.raises(RedteamError, match=r"tuned-0\.json"):
        runs.config(task)


def test_a_candidate_has_its_own_options(tmp_path):
    task = next(x for x in tasks(TINY, TINY.part("rates")) if (x.kind, x.arm) == (TRAIN, "five"))
    config = Runs(TINY, tmp_path).config(task)
    assert config.learner.attacker_lr == 2.5e-3
    assert config.run.out == str(tmp_path / "runs" / "rates-tuning" / "five" / "seed-100")


def test_half_written_files_are_no_records(tmp_path):
    found = tasks(TINY, TINY.part("arms"))
    folder = tmp_path / "records" / "arms" / MEASURE
    folder.mkdir(parents=True)
    for name in ("shared-0.parquet", ".shared-1.parquet.partial"):
        (folder / name).touch()
    assert [x.name for x in outputs(tmp_path, found, MEASURE)] == ["shared-0.parquet"]
    assert outputs(tmp_path, found, CROSS) == []
