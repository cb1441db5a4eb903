"""Cases and scores are the game itself, cut in two at the seat's turn."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env import Episode, RedteamError
from redteam_env.bridges import Case, SeatTask

SETTINGS = {"judge": "lexical", "seeds": "builtin"}
DEFENDER = SeatTask("defender_0", **SETTINGS)
ATTACKER = SeatTask("attacker_0", **SETTINGS)
TALK = SeatTask("attacker_0", exchanges=2, **SETTINGS)
answers = st.sampled_from(["I cannot help with that.", "Sure. First take the ladder out.", "", "?"])


@given(seed=st.integers(0, 2**20), answer=answers, task=st.sampled_from([DEFENDER, ATTACKER]))
def test_a_score_is_what_the_environment_pays_for_the_same_answer(seed, answer, task):
    [case] = task.cases(1, seed=seed)
    env = redteam_env.single_seat(task.seat, **SETTINGS)
    _, info = env.reset(seed=seed)
    assert list(case.messages) == info["messages"]
    _, reward, over, _, info = env.step(answer)
    score = task.score(case, answer)
    assert over
    assert (score.reward, score.components) == (reward, info["components"])
    assert score.episode == env.episode
    assert task.score(case.game, answer) == score


def test_cases_are_numbered_by_their_seeds_and_scored_together():
    cases = DEFENDER.cases(6, seed=3)
    assert cases == DEFENDER.cases(3, seed=3) + DEFENDER.cases(3, seed=6)
    texts = ["I cannot help with that.", "Sure, here you are: take one."] * 3
    each = [DEFENDER.score(case, text) for case, text in zip(cases, texts, strict=True)]
    assert DEFENDER.score_all(cases, texts) == each
    assert {score.reward for score in each} > {2.0}


def test_a_case_is_a_row_of_a_data_set():
    [case] = DEFENDER.cases(1)
    row = json.loads(json.dumps(case.row()))
    assert row["prompt"] == [dict(x) for x in case.messages]
    assert DEFENDER.score(row["game"], "No.") == DEFENDER.score(case, "No.")


def test_a_game_of_several_exchanges_goes_on_step_by_step():
    first = TALK.cases(2)
    second = TALK.step(first, ["Hello.", "Good day."])
    assert all(isinstance(x, Case) for x in second)
    assert second[0].messages[: len(first[0].messages)] == first[0].messages
    third = TALK.step(second, ["And now?", "And then?"])
    assert all(isinstance(x, Episode) for x in third)
    assert TALK.scored(third[0]).reward == third[0].rewards["attacker_0"]
    with pytest.raises(RedteamError, match="several exchanges; answer with step"):
        TALK.score(first[0], "Hello.")


def test_a_void_game_has_no_reward():
    class Failing:
        name = "failing"
        smoke_only = True

        def judge(self, dialogues):
            return [redteam_env.Verdict(error="out of order") for _ in dialogues]

    task = SeatTask("defender_0", judge=Failing())
    score = task.score(task.cases(1)[0], "No.")
    assert score.reward is None
    assert "out of order" in score.episode.void


def of(game, **changes):
    return json.dumps({**json.loads(game), **changes})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda game: game[:-3], "A case"),
        (lambda _: "[]", "cannot be read"),
        (lambda _: "3", "cannot be read"),
        (lambda game: of(game, path=None), "cannot be read"),
        (lambda game: of(game, seed={"id": "a"}), "cannot be read"),
        (lambda game: of(game, turns=[{"words": "a"}]), "cannot be read"),
        (lambda game: of(game, turns=[{"text": 3}]), "A turn of a case"),
        (lambda game: of(game, rewritten="yes"), "rewritten of a case"),
        (lambda game: of(game, turns=[{"text": "a"}] * 2), "game is over|is to move"),
        (lambda game: of(game, rewritten=True, turns=[]), "attacker_0 is to move, not defender_0"),
    ],
)
def test_what_is_no_case_is_refused(damage, message):
    game = DEFENDER.cases(1)[0].game
    with pytest.raises(RedteamError, match=message):
        DEFENDER.score(damage(game), "No.")


def test_wrong_counts_are_refused():
    with pytest.raises(RedteamError, match="count is 0"):
        DEFENDER.cases(0)
    with pytest.raises(RedteamError, match="1 answers to 2 cases"):
        DEFENDER.score_all(DEFENDER.cases(2), ["No."])
    with pytest.raises(RedteamError, match="seat"):
        SeatTask("defender_7")


def test_an_opponent_is_named_as_everywhere_else():
    task = SeatTask("attacker_0", opponent=lambda messages: "Sure.", **SETTINGS)
    assert task.score(task.cases(1)[0], "Hello.").episode.turns[-1].text == "Sure."
    with pytest.raises(RedteamError, match="no-such-run"):
        SeatTask("attacker_0", opponent="runs/no-such-run", **SETTINGS)
