"""Evaluation while a run trains: on fixed suites, every few steps, the best checkpoint kept."""

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options
from training_doubles import metrics

from algorithms import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.runs import Run


@pytest.fixture
def run(doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def start(policy=None, **more):
        given = {"steps": 5, "eval_every": 2, "eval_games": 8, "rewrite_fraction": 0.5, **more}
        return train(policy=policy or players(), **options("reinforce", tmp_path / "run", **given))

    return start


class Attackless(MatrixJudge):
    """Reads raw games: a seed is harmful if it says so, an answer if it is c."""

    def verdict(self, dialogue):
        from redteam_env.game import Verdict

        return Verdict(
            prompt_harmful="bad" in dialogue.prompt,
            response_refusal=dialogue.response[0] == "a",
            response_harmful=dialogue.response[0] == "c",
            judge=self.name,
        )


@pytest.fixture
def raw(doubles):
    doubles("judges", "matrix", Attackless)


def test_suites_are_measured_every_few_steps_and_at_the_end(raw, run):
    rows = metrics(run(rewrite_fraction=0.0).directory)
    assert ["eval/score" in row for row in rows] == [False, True, False, True, True]
    for row in rows:
        if "eval/score" in row:
            mean = (row["eval/raw/attack_success"] + row["eval/raw/over_refusal"]) / 2
            assert row["eval/raw/defence"] == row["eval/score"] == pytest.approx(1 - mean)
            assert row["eval/raw/void"] == 0


def test_evaluating_changes_nothing_of_the_training(raw, run, tmp_path):
    plain = metrics(run(rewrite_fraction=0.0, eval_every=0, out=str(tmp_path / "a")).directory)
    seen = metrics(run(rewrite_fraction=0.0, out=str(tmp_path / "b")).directory)
    for one, two in zip(plain, seen, strict=True):
        same = {k: v for k, v in two.items() if not k.startswith(("eval/", "time/"))}
        assert same == {k: v for k, v in one.items() if not k.startswith("time/")}


def test_the_best_checkpoint_is_kept_whole(raw, run):
    class Meter:
        def on_update(self, step, row):
            row["meter/value"] = (0.0, 5.0, 9.0, 4.0, 1.0)[step]

    outcome = run(
        rewrite_fraction=0.0, callbacks=[Meter()], best_metric="meter/value", best_mode="min"
    )
    assert Run(outcome.directory).at(5)
    rows = metrics(outcome.directory)
    assert [row.get("eval/best") for row in rows] == [None, 5.0, None, 4.0, 1.0]
    assert Run(outcome.directory).best().step == 5


def test_the_best_so_far_is_remembered_when_the_run_goes_on(raw, run):
    class Falling:
        def on_update(self, step, row):
            row["meter/value"] = -float(step)

    more = {"callbacks": [Falling()], "best_metric": "meter/value", "rewrite_fraction": 0.0}
    run(**more, steps=2)
    outcome = run(**more, steps=4, resume=True)
    assert [row.get("eval/best") for row in metrics(outcome.directory)] == [None, -1.0, None, None]
    assert Run(outcome.directory).best().step == 2


def test_bad_requests_are_refused_before_training(raw, run):
    with pytest.raises(RedteamError, match="eval_suites is empty"):
        run(eval_suites=" ,")
    with pytest.raises(RedteamError, match="suite 'nothing'"):
        run(eval_suites="nothing")
    with pytest.raises(RedteamError, match="eval_every"):
        run(policy=players({"attacker": "attacker", "defender": "base"}))
    with pytest.raises(RedteamError, match=r"best_metric is 'nothing'.*eval/score"):
        run(best_metric="nothing", rewrite_fraction=0.0, out="other")


def test_the_command_keeps_a_best_checkpoint_that_plays(arguments, capsys, tmp_path):
    words = arguments("--eval-every", "1", "--eval-games", "4", steps=1)
    assert main(words) == 0
    best = tmp_path / "run/checkpoints/best"
    command = ["evaluate", "--defender", str(best), "--attacker", "echo", "--games", "4"]
    assert main([*command, "--judge", "lexical", "--seeds", "builtin", "--json"]) == 0
