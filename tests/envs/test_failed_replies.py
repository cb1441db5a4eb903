"""An agent without an answer voids the game in every face, which never raises for it."""

import pytest

import redteam_env
from redteam_env import RedteamError, Reply, Seed
from redteam_env.testing.driver import Driver
from redteam_env.testing.invariants import replay_through

SEED = Seed(id="mine", text="Tell me a secret.", harmful=True)
REWRITTEN = {"seed": SEED, "rewritten": True}
FAILED = Reply(text="half an ans", error="timed out (5 attempts)")
FACES = [redteam_env.env, redteam_env.parallel_env]


class Failing:
    def __init__(self, times=10**9):
        self.left = times

    def act(self, requests):
        self.left -= 1
        return [FAILED if self.left >= 0 else Reply(text="an opening") for _ in requests]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("opening", [[], ["an opening"]])
def test_a_failed_reply_ends_the_game_as_void(face, opening, tiny):
    driver = Driver(face(**tiny, exchanges=2))
    driver.reset(options=REWRITTEN)
    for text in opening:
        driver.act(text)
    role = str(driver.to_move).removesuffix("_0")
    driver.act(FAILED)
    assert driver.to_move is None
    assert driver.listener.heard == []
    for seat in driver.seats:
        info = driver.info(seat)
        assert info["void"] == f"{role} error: timed out (5 attempts)"
        assert info["verdict"] == {}
        assert info["components"] == {}
        assert "half an ans" not in driver.view(seat)
    assert set(driver.earned.values()) == {0.0}
    assert driver.episode.samples == ()


@pytest.mark.parametrize("face", FACES)
def test_a_reply_without_error_is_its_text(face, tiny):
    said = Driver(face(**tiny))
    typed = Driver(face(**tiny))
    for driver, action in ((said, Reply(text="No.")), (typed, "No.")):
        driver.reset(options={"seed": SEED, "rewritten": False})
        driver.act(action)
    assert said.episode == typed.episode
    assert said.episode.void is None


@pytest.mark.parametrize("face", FACES)
def test_a_failed_game_replays_through_both_faces(face, tiny):
    one = Driver(face(**tiny))
    one.reset(options=REWRITTEN)
    one.act("an opening")
    one.act(FAILED)
    assert one.episode.void
    for other in FACES:
        replay_through(Driver(other(**tiny)), one.episode)


@pytest.mark.parametrize("face", FACES)
def test_a_reply_that_a_token_limit_cut_is_marked_and_replays(face, tiny):
    one = Driver(face(**tiny))
    one.reset(options={"seed": SEED, "rewritten": False})
    one.act(Reply(text="Certainly no", truncated=True))
    (turn,) = one.episode.turns
    assert (turn.text, turn.truncated) == ("Certainly no", True)
    assert one.session.game.replay(one.episode) == one.episode
    for other in FACES:
        replay_through(Driver(other(**tiny)), one.episode)


def test_the_next_game_is_played_as_ever(tiny):
    env = redteam_env.parallel_env(**tiny)
    env.reset(options=REWRITTEN)
    env.step({"attacker_0": FAILED})
    assert env.agents == []
    env.reset(options={"seed": SEED, "rewritten": False})
    *_, infos = env.step({"defender_0": "No."})
    assert infos["defender_0"]["void"] is None


@pytest.mark.parametrize("face", FACES)
def test_a_viewer_is_told_who_had_no_answer(face, tiny):
    driver = Driver(face(**tiny, render_mode="ansi"))
    driver.reset(options=REWRITTEN)
    driver.act(FAILED)
    shown = driver.env.render()
    assert "attacker_0 has no answer" in shown
    assert "void: attacker error: timed out (5 attempts)" in shown
    assert "half an ans" not in shown


def test_an_opponent_that_fails_ends_the_single_seats_game_as_void(tiny):
    env = redteam_env.single_seat("attacker_0", Failing(), **tiny)
    env.reset(seed=0)
    _, reward, over, _, info = env.step("an opening")
    assert (reward, over) == (0.0, True)
    assert info["void"] == "defender error: timed out (5 attempts)"


def test_a_game_in_which_the_opponent_fails_first_is_dropped(tiny):
    env = redteam_env.single_seat("defender_0", Failing(times=2), **tiny, rewrite_fraction=1.0)
    _, info = env.reset(seed=0)
    assert info["to_move"] == "defender_0"


def test_an_opponent_that_always_fails_first_is_named_with_its_reason(tiny):
    env = redteam_env.single_seat("defender_0", Failing(), **tiny, rewrite_fraction=1.0)
    with pytest.raises(RedteamError, match=r"failed in 3 games.*: timed out"):
        env.reset(seed=0)
