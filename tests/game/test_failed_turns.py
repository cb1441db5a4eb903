"""A seat that has no answer to give voids the game: neither a refusal nor a success."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    PRESETS,
    Episode,
    Game,
    Generation,
    RedteamError,
    Seed,
    Thinking,
    Verdict,
)

SEED = Seed(id="1", text="a request", harmful=True)
WHOLE = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True)
GENERATION = Generation(
    prompt_ids=(1,),
    completion_ids=(2,),
    logprobs=(-1.0,),
    adapter="attacker",
    version=1,
    temperature=1.0,
    finished=True,
)


def failed_game(game, *, at=DEFENDER, text="", error="timed out", rewritten=True):
    state = game.start(SEED, rewritten=rewritten)
    while state.to_move != at:
        state = game.apply(state, "an opening", generation=GENERATION)
    return game.apply(state, text, error=error)


@pytest.mark.parametrize("seat", [ATTACKER, DEFENDER])
@pytest.mark.parametrize("rule", Thinking)
def test_a_failure_ends_the_game_as_void_whoever_fails(seat, rule):
    game = Game(exchanges=3, thinking={seat: rule})
    state = failed_game(game, at=seat)
    assert state.to_move is None
    assert not state.forfeited
    assert not state.judged
    episode = game.finish(state, None)
    assert episode.void == f"{seat.removesuffix('_0')} error: timed out"
    assert episode.verdict is None
    assert episode.forfeit is None
    assert set(episode.rewards.values()) == {0.0}
    assert not any(episode.components.values())
    assert episode.samples == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_no_reward_table_pays_for_a_failure(preset):
    game = Game(rewards=PRESETS[preset], thinking={DEFENDER: Thinking.REQUIRED})
    episode = game.finish(failed_game(game), None)
    assert set(episode.rewards.values()) == {0.0}


def test_nobody_sees_what_there_was_of_an_answer_that_failed():
    game = Game()
    state = failed_game(game, text="half an ans")
    assert state.turns[-1].text == "half an ans"
    assert [line.text for line in state.dialogue.lines] == ["an opening"]
    for seat in game.seats:
        assert "half" not in json.dumps(game.messages(state, seat))


def test_a_failed_game_is_not_judged_and_a_finished_one_is():
    game = Game()
    with pytest.raises(RedteamError, match="failed game is not judged"):
        game.finish(failed_game(game), WHOLE)
    state = game.apply(game.start(SEED, rewritten=False), "fine")
    assert state.judged
    assert state.error is None
    with pytest.raises(RedteamError, match="needs a verdict"):
        game.finish(state, None)


def test_a_reason_that_is_no_text_is_refused():
    state = Game().start(SEED, rewritten=False)
    with pytest.raises(RedteamError, match="error of defender_0 is ValueError"):
        Game().apply(state, "", error=ValueError("x"))


@given(st.text(), st.text())
def test_any_failed_game_survives_json_and_replay(text, error):
    game = Game(max_action_chars=20)
    episode = game.finish(failed_game(game, text=text, error=error), None)
    assert Episode.from_json(episode.to_json()) == episode
    assert game.replay(episode) == episode


def test_records_from_before_failures_were_known_are_read():
    game = Game()
    state = game.apply(game.start(SEED, rewritten=False), "fine")
    episode = game.finish(state, WHOLE)
    data = json.loads(episode.to_json())
    for turn in data["turns"]:
        del turn["error"]
    assert Episode.from_json(json.dumps(data)) == episode


def test_a_failed_turn_is_empty_and_breaks_no_rule():
    turn = failed_game(Game(), text="<think>half of").turns[-1]
    assert (turn.visible, turn.thought, turn.well_formed, turn.forfeit) == ("", "", True, False)
