"""What single tasks do: who meets whom, which options are chosen, and what a failure says."""

import json
import signal
from pathlib import Path

import pytest
from experiment_fakes import suite_rows, tiny_experiment

from agents.lora.config import WEIGHTS
from algorithms.studies.experiments.tasks import tasks
from algorithms.studies.experiments.work import crossing, do, tuning_score
from algorithms.studies.games import write_table
from algorithms.studies.players import Player
from algorithms.studies.tasks import CHOOSE, MEASURE, TRAIN
from redteam_env import register
from redteam_env.evaluation.detection import roc
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary import ApothecaryJudge


def task_of(made, part, kind, **wanted):
    found = [x for x in tasks(made, made.part(part)) if x.kind == kind]
    return next(x for x in found if all(getattr(x, k) == v for k, v in wanted.items()))


def players(seed):
    """The base and an arm of every arrangement, none of which has a policy."""
    yield Player("base", -1, (), None, None, {})
    for name, weights in WEIGHTS.items():
        trained = tuple(role for role, own in weights.items() if own != "base")
        yield Player(name, seed, trained, Path(name), None, {})


def test_all_attackers_meet_all_defenders_and_each_arm_that_is_both_one_stranger():
    attackers, defenders, strangers = crossing(list(players(5)), [3, 5, 9], 5)
    both = {"bipolicy", "shared", "shared_full", "independent"}
    assert {x.arm for x in attackers} == {"base", "attacker_only", *both}
    assert {x.arm for x in defenders} == {"base", "defender_only", *both}
    assert strangers == dict.fromkeys(both, 9)


def test_the_last_seeds_stranger_is_of_the_first_seed():
    assert set(crossing(list(players(9)), [3, 5, 9], 9)[2].values()) == {3}


def test_with_one_seed_there_are_no_strangers():
    """Else an arm would meet its own defender a second time, and count as a stranger to itself."""
    assert crossing(list(players(7)), [7], 7)[2] == {}


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
        tried = task_of(made, "rates", MEASURE, arm=name, seed=100)
        write_table(tmp_path / tried.output, rows)
    task = task_of(made, "rates", CHOOSE)
    assert do(made, tmp_path, task) == "done"
    found = json.loads((tmp_path / task.output).read_text())
    assert found["chosen"] == chosen
    assert found["options"] == made.part("rates").tuned.candidates[chosen]
    assert found["auc"][chosen] == max(found["auc"].values())


class Pressed(ApothecaryJudge):
    """Presses Ctrl-C while it judges."""

    def judge(self, dialogues):
        signal.raise_signal(signal.SIGINT)
        return super().judge(dialogues)


def test_training_that_was_stopped_leaves_no_record(tmp_path):
    register("judges", "pressed", Pressed)
    made = tiny_experiment(lambda data: data["training"].update(judge="pressed"))
    task = task_of(made, "arms", TRAIN)
    assert do(made, tmp_path, task) == "interrupted"
    assert not (tmp_path / task.output).exists()


def test_an_error_says_in_which_task_it_happened(tmp_path):
    made = tiny_experiment()
    task = task_of(made, "arms", MEASURE, arm="bipolicy", seed=1)
    with pytest.raises(RedteamError, match=r"^arms: measure bipolicy seed 1: .*step-000001"):
        do(made, tmp_path, task)
