"""What single tasks do: who meets whom, which options are chosen, and what a failure says."""

import json
from pathlib import Path

import pytest
from experiment_doubles import suite_rows, tiny_experiment

from agents.lora.config import WEIGHTS
from algorithms.studies.experiments import work
from algorithms.studies.experiments.players import Player
from algorithms.studies.experiments.tasks import CHOOSE, CROSS, TRAIN, Layout, tasks
from algorithms.studies.experiments.work import do, tuning_score
from algorithms.studies.games_table import read_tables, write_table
from algorithms.training.trainer import Outcome
from redteam_env.evaluation.detection import roc
from redteam_env.game import RedteamError


def task_of(made, part, kind, **wanted):
    found = [x for x in tasks(made, made.part(part)) if x.kind == kind]
    return next(x for x in found if all(getattr(x, k) == v for k, v in wanted.items()))


class Meeting:
    """Stands for the meter: notes who meets whom, and at which checkpoint."""

    def __init__(self):
        self.seen = []

    def crossed(self, attackers, defenders, others):
        names = [[(x.arm, x.seed) for x in group] for group in (attackers, defenders)]
        strangers = sorted((x.arm, x.seed) for x in others.values())
        steps = {x.step for x in (*attackers, *defenders, *others.values()) if x.run}
        self.seen.append((*names, strangers, steps))
        return []


@pytest.fixture
def meeting(monkeypatch, tmp_path):
    """Play the task ``cross`` of a part without policies; returns who met."""

    def played(made, seed):
        part = made.part("arms")

        def player(self, name, arm, of):
            kind = part.arms[arm].get("arrangement")
            roles = [x for x, weights in WEIGHTS.get(kind, {}).items() if weights != "base"]
            run = Path(arm) if roles else None
            return Player(arm, of if roles else -1, tuple(roles), run, None, {})

        def restore(self, step):
            self.step = step if self.run else 0

        found = Meeting()
        monkeypatch.setattr(work._Worker, "_player", player)
        monkeypatch.setattr(work._Worker, "_meter", lambda self: found)
        monkeypatch.setattr(Player, "restore", restore)
        task = task_of(made, "arms", CROSS, seed=seed)
        assert do(made, tmp_path, task) == "done"
        assert len(read_tables([tmp_path / task.output])) == 0
        return found.seen

    return played


def every_arrangement(data):
    part = data["parts"]["arms"]
    part.update(seeds=[3, 5, 9], gradients=[])
    part["arms"] = {"base": {}, **{name: {"arrangement": name} for name in WEIGHTS}}


def test_all_attackers_meet_all_defenders_and_each_arm_one_stranger(meeting):
    seen = meeting(tiny_experiment(every_arrangement), 5)
    assert [steps for *_, steps in seen] == [{1}, {2}]
    both = {"bipolicy", "shared", "shared_full", "independent"}
    for attackers, defenders, strangers, _ in seen:
        assert set(attackers) == {("base", -1), *((x, 5) for x in both | {"attacker_only"})}
        assert set(defenders) == {("base", -1), *((x, 5) for x in both | {"defender_only"})}
        assert set(strangers) == {(x, 9) for x in both}


def test_the_last_seeds_stranger_is_of_the_first_seed(meeting):
    _, _, strangers, _ = meeting(tiny_experiment(every_arrangement), 9)[0]
    assert {seed for _, seed in strangers} == {3}


def test_with_one_seed_nobody_is_a_stranger(meeting):
    """Else an arm would meet its own defender a second time, and count as a stranger to itself."""

    def change(data):
        data["parts"]["arms"]["seeds"] = [7]

    _, _, strangers, _ = meeting(tiny_experiment(change), 7)[0]
    assert strangers == []


def test_a_tuning_score_is_the_mean_area_of_the_primary_suites(tmp_path):
    made = tiny_experiment()
    rows = suite_rows(made, "one", 100, 1.0)
    write_table(tmp_path / "t", rows)
    areas = []
    for step in (1, 2):
        for split in ("train", "heldout"):
            own = [x for x in rows if (x["step"], x["split"], x["suite"]) == (step, split, "k2")]
            areas.append(roc([x["score"] for x in own], [x["harmful"] for x in own]).auc)
    assert tuning_score(tmp_path / "t", ["k2"]) == pytest.approx(sum(areas) / 4)


@pytest.mark.parametrize(
    ("scores", "chosen"), [((0.0, 9.0), "five"), ((9.0, 0.0), "one"), ((1.0, 1.0), "one")]
)
def test_the_candidate_with_the_highest_score_is_chosen_the_first_of_equals(
    tmp_path, scores, chosen
):
    made = tiny_experiment()
    for name, gap in zip(("one", "five"), scores, strict=True):
        rows = suite_rows(made, "same", 100, gap)
        write_table(tmp_path / Layout.record("rates-tuning", "measure", name, 100), rows)
    task = task_of(made, "rates", CHOOSE)
    assert do(made, tmp_path, task) == "done"
    found = json.loads((tmp_path / task.output).read_text())
    assert found["chosen"] == chosen
    assert found["options"] == made.part("rates").tuned.candidates[chosen]
    assert found["auc"][chosen] == max(found["auc"].values())


def test_training_that_was_stopped_leaves_no_record(monkeypatch, tmp_path):
    def stopped(config):
        return Outcome(directory=Path(config.run.out), steps=1, played=1, finished=False, void=0)

    monkeypatch.setattr(work, "train", stopped)
    made = tiny_experiment()
    task = task_of(made, "arms", TRAIN)
    assert do(made, tmp_path, task) == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_an_error_says_in_which_task_it_happened(monkeypatch, tmp_path):
    def failing(config):
        raise RedteamError("The gradient is nan.")

    monkeypatch.setattr(work, "train", failing)
    made = tiny_experiment()
    task = task_of(made, "arms", TRAIN, arm="bipolicy", seed=1)
    with pytest.raises(RedteamError, match=r"^arms: train bipolicy seed 1: The gradient is nan\.$"):
        do(made, tmp_path, task)
