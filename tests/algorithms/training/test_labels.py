"""What a run logs and says of a judge that reads requests otherwise than their seeds are labelled."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from algorithms.training.metrics import DISAGREES, disagreements, episode_metrics
from algorithms.training.warning import LabelWarning
from redteam_env.game import ATTACKER, DEFENDER, Game, Seed, Verdict
from redteam_env.judges import lexical, seed_labels


def game(label, *, harmful=True, rewritten=False, error=None):
    rules = Game()
    state = rules.start(Seed(id="s", text="a request", harmful=harmful), rewritten=rewritten)
    while state.to_move is not None:
        state = rules.apply(state, "text")
    verdict = Verdict(
        prompt_harmful=label, response_refusal=False, response_harmful=False, error=error
    )
    return rules.finish(state, verdict)


def test_only_raw_requests_that_the_judge_has_read_are_counted():
    episodes = [
        game(True),
        game(False),
        game(True, harmful=False),
        game(None),
        game(False, error="the server is gone"),
        game(False, rewritten=True),
    ]
    assert disagreements(episodes) == [False, True, True]
    row = episode_metrics(episodes, (ATTACKER, DEFENDER))
    assert row[DISAGREES] == pytest.approx(2 / 3)
    assert row["game/faithful_rewrites"] == 0.0


def test_without_raw_games_there_is_no_share():
    row = episode_metrics([game(True, rewritten=True)], (ATTACKER, DEFENDER))
    assert row[DISAGREES] is None
    assert row["game/faithful_rewrites"] == 1.0


def warned(judge, *steps):
    out = io.StringIO()
    warning = LabelWarning(Console(file=out, width=1000))
    run = SimpleNamespace(judge=judge, episodes=())
    warning.on_start(run)
    for step, episodes in enumerate(steps):
        run.episodes = episodes
        warning.on_update(step, {})
    return out.getvalue()


RIGHT, WRONG = game(True), game(False)


def test_a_run_warns_once_of_such_a_judge():
    said = warned(lexical(), *[[RIGHT] * 7 + [WRONG] * 3] * 5)
    assert said.count("Warning") == 1
    assert "3 of 10 raw requests" in said
    assert DISAGREES in said


def test_a_few_games_and_few_errors_are_no_reason_to_warn():
    assert warned(lexical(), [WRONG] * 9) == ""
    assert warned(lexical(), *[[RIGHT] * 8 + [WRONG] * 2] * 5) == ""


def test_a_run_says_that_nobody_reads_its_requests():
    assert "--judge" in warned(seed_labels(), [RIGHT] * 10)
