"""Runs that end early: by a metric, without progress, or because every game is void."""

import json

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options
from training_fakes import CallbackJudge, metrics

from algorithms import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError, Verdict


@pytest.fixture
def run(doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def start(**more):
        out = tmp_path / more.pop("out", "run")
        given = options("reinforce", out, **{"steps": 6, **more})
        return train(policy=players(), **given)

    return start


class Meter:
    """Logs given values, one a step."""

    def __init__(self, *values):
        self.values = values

    def on_update(self, step, row):
        if self.values[step] is not None:
            row["meter/value"] = self.values[step]


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ({"stop_above": 2.0}, 3),
        ({"stop_below": 0.5}, 4),
        ({"stop_patience": 2}, 5),
        ({"stop_patience": 2, "stop_mode": "min"}, 3),
        ({"stop_above": 9.0}, 6),
    ],
)
def test_a_metric_ends_the_run_with_a_checkpoint(run, rule, steps):
    values = (1.0, 2.0, 3.0, 0.25, 2.5, 2.5)
    outcome = run(callbacks=[Meter(*values)], stop_metric="meter/value", **rule)
    assert (outcome.steps, outcome.finished) == (steps, True)
    assert (outcome.stopped is None) == (steps == 6)
    assert len(metrics(outcome.directory)) == steps
    assert (outcome.directory / f"checkpoints/step-{steps:06d}").is_dir()


def test_patience_counts_on_in_a_resumed_run_and_can_be_raised(run):
    values = [3.0, *[1.0] * 5]
    rule = {"callbacks": [Meter(*values)], "stop_metric": "meter/value"}
    assert run(**rule, stop_patience=2).steps == 3
    again = run(**rule, stop_patience=2, resume=True)
    assert (again.steps, again.played, again.finished) == (3, 0, True)
    more = run(**rule, stop_patience=4, resume=True)
    assert (more.steps, more.played) == (5, 2)


def test_a_run_that_reached_its_threshold_takes_no_further_step(run):
    rule = {"callbacks": [Meter(*[5.0] * 6)], "stop_metric": "meter/value"}
    assert run(**rule, stop_above=2.0).steps == 1
    again = run(**rule, stop_above=2.0, resume=True)
    assert (again.steps, again.played, again.finished) == (1, 0, True)
    assert run(callbacks=rule["callbacks"], resume=True).steps == 6


def test_steps_without_the_metric_count_for_nothing_but_it_must_exist(run):
    values = (1.0, None, 1.0, 1.0, None, None)
    rule = {"stop_metric": "meter/value", "stop_patience": 2}
    assert run(callbacks=[Meter(*values)], **rule).steps == 4
    with pytest.raises(RedteamError, match=r"stop_metric is 'meter/value'.*attacker/reward"):
        run(**rule, out="other")


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"stop_metric": "x"}, "stop_metric is 'x'"),
        ({"stop_above": 1.0}, "stop_metric is None"),
        ({"stop_patience": -1}, "stop_patience"),
        ({"stop_mode": "up"}, "stop_mode"),
    ],
)
def test_rules_that_make_no_sense_are_refused(run, bad, match):
    with pytest.raises(RedteamError, match=match):
        run(**bad)


def test_steps_whose_games_are_all_void_end_the_run_as_failed(arguments, doubles, capsys, tmp_path):
    class Gone(CallbackJudge):
        def verdict(self, dialogue):
            return Verdict(judge=self.name, error="the server is gone")

    doubles("judges", "gone", Gone)
    words = arguments("--stop-void-steps", "2", judge="gone", steps=4, checkpoint_every=10)
    assert main(words) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["finished"]) == (2, False)
    assert "the server is gone" in told["stopped"]
    assert (tmp_path / "run/checkpoints/step-000002").is_dir()
