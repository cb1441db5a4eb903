"""Runs that end early: by a metric, without progress, or because judge or players do not answer."""

import json

import pytest
from support_servers import RECORDED, RecordedJudgeServer
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options
from training_fakes import CallbackJudge, contents, metrics

from algorithms import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError, Verdict
from redteam_env.judges.wildguard import wildguard


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
    without = {"stop_metric": None, "stop_above": None}
    assert run(callbacks=rule["callbacks"], resume=True, **without).steps == 6


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


@pytest.fixture
def served(doubles, tmp_path):
    """A served judge with one attempt a question, whose labels follow from what it is asked."""
    file = tmp_path / "template"
    file.write_text("{prompt} {response}")
    doubles("judges", "served", lambda url: wildguard(url, template_file=file, retries=0))

    def labels(query):
        return RECORDED[len(query["prompt"]) % len(RECORDED)]

    with RecordedJudgeServer(labels) as server:
        yield server


def taught(run):
    """What a run logged, but what its judge took."""
    return [{k: x for k, x in row.items() if "usage/" not in k} for row in metrics(run)]


def test_case_24_a_judge_that_is_gone_stops_the_run_and_spends_no_step(
    tiny_config, served, tmp_path
):
    more = {"judge": "served", "judge_url": served.url, "steps": 4, "checkpoint_every": 10}
    whole = train(tiny_config(**more, out=str(tmp_path / "whole")))
    left = len(served.requests) + 3 + 2 * 8
    served.statuses = [*[200] * left, *[503] * 1000]
    config = {**more, "out": str(tmp_path / "cut")}
    outcome = train(tiny_config(**config))
    assert len(served.requests) == left + 2 * 8
    assert (outcome.steps, outcome.played, outcome.finished, outcome.void) == (2, 2, False, 16)
    assert "step 2 was played 2 times" in outcome.stopped
    assert "judge error: server_error: HTTP status 503" in outcome.stopped
    assert len(metrics(outcome.directory)) == 2
    served.statuses = ()
    resumed = train(tiny_config(**config, resume=True))
    assert (resumed.steps, resumed.played, resumed.finished) == (4, 2, True)
    assert taught(resumed.directory) == taught(whole.directory)
    last = "checkpoints/step-000004"
    assert contents(resumed.directory, last) == contents(whole.directory, last)


def test_case_24_a_judge_that_comes_back_costs_one_more_play_of_the_step(
    tiny_config, served, tmp_path
):
    more = {"judge": "served", "judge_url": served.url, "steps": 1}
    whole = train(tiny_config(**more, out=str(tmp_path / "whole")))
    served.statuses = [*[200] * (len(served.requests) + 3), *[503] * 5]
    outcome = train(tiny_config(**more, out=str(tmp_path / "gap")))
    assert (outcome.steps, outcome.finished, outcome.void) == (1, True, 5)
    assert taught(outcome.directory) == taught(whole.directory)


def test_case_24_the_command_says_so_and_ends_with_1(arguments, doubles, capsys, tmp_path):
    class Gone(CallbackJudge):
        def verdict(self, dialogue):
            return Verdict(judge=self.name, error="the server is gone")

    doubles("judges", "gone", Gone)
    words = arguments("--void-steps", "3", judge="gone", steps=4, checkpoint_every=10)
    assert main(words) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["finished"], told["void"]) == (0, False, 24)
    assert "the server is gone" in told["stopped"]
    assert not (tmp_path / "run/checkpoints").exists()


def test_half_of_the_games_void_is_not_more_than_half(tiny_config, doubles, tmp_path):
    class Half(CallbackJudge):
        def judge(self, dialogues):
            found = super().judge(dialogues)
            return [Verdict(error="no") if k % 2 else x for k, x in enumerate(found)]

    doubles("judges", "half", Half)
    outcome = train(tiny_config(judge="half", steps=1))
    assert (outcome.finished, outcome.void) == (True, 4)
