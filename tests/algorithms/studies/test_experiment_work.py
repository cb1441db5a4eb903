"""What single tasks do, and what a failure says."""

import signal

import pytest
from experiment_fakes import tiny_experiment

from algorithms.studies.experiments.tasks import tasks
from algorithms.studies.experiments.work import do
from algorithms.studies.tasks import MEASURE, TRAIN
from redteam_env import register
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary import ApothecaryJudge


def task_of(made, part, kind, **wanted):
    found = [x for x in tasks(made, made.part(part)) if x.kind == kind]
    return next(x for x in found if all(getattr(x, k) == v for k, v in wanted.items()))


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
