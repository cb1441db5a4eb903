"""Many games at once are the games of the AEC environment."""

import hashlib

import numpy as np
import pytest
from envs_fakes import HashJudge, tiny_source
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env import RedteamError, Reply, Seed, VectorGame
from redteam_env.game import PRESETS

SETTINGS = st.fixed_dictionaries(
    {
        "exchanges": st.integers(1, 2),
        "thinking": st.sampled_from(["none", "optional", "required"]),
        "rewards": st.sampled_from(sorted(PRESETS)),
        "rewrite_fraction": st.sampled_from([0.0, 0.5, 1.0]),
        "judge_seat": st.booleans(),
        "credit": st.sampled_from(["episode", "turn"]),
    }
)


def tiny(**more):
    return {"seeds": tiny_source(), "judge": HashJudge(), **more}


def said(messages):
    """Return a text that depends on what was asked, sometimes thoughtful, malformed or no answer."""
    digest = hashlib.sha256(repr(messages).encode()).hexdigest()
    forms = (
        digest[:9],
        f"<think>{digest[:4]}</think><answer>{digest[:9]}</answer>",
        f"<think>{digest[:4]}",
        Reply(text="", error="no answer"),
    )
    return forms[int(digest[-1], 16) % 4]


def play_aec(env):
    """Yield rewards and infos after each action of a game, and its record."""
    while env.episode is None:
        env.step(said(env.infos[env.agent_selection]["messages"]))
        yield dict(env.rewards), dict(env.infos), env.episode


@given(SETTINGS, st.integers(0, 99), st.integers(1, 3), st.booleans())
def test_every_game_is_that_of_the_aec_environment(how, seed, count, autoreset):
    games = VectorGame(count, autoreset=autoreset, **tiny(**how))
    games.reset(seed=seed)
    seen = [[] for _ in range(count)]
    while (requests := games.requests()) and min(map(len, seen)) < 12:
        for step in games.step([said(x.messages) for x in requests]):
            seen[step.game].append((step.rewards, step.infos, step.episode))
    if not autoreset:
        games.reset()  # goes on with the randomness of each game
        while requests := games.requests():
            for step in games.step([said(x.messages) for x in requests]):
                seen[step.game].append((step.rewards, step.infos, step.episode))
    for k, steps in enumerate(seen):
        env = redteam_env.raw_env(**tiny(**how))
        env.reset(seed=seed + k)
        alone = []
        while len(alone) < len(steps):
            alone += play_aec(env)
            env.reset()
        assert alone[: len(steps)] == steps


def test_the_judge_is_asked_once_about_all_that_end():
    class Counting(HashJudge):
        calls = 0

        def judge(self, dialogues):
            self.calls += 1
            return super().judge(dialogues)

    judge = Counting()
    games = VectorGame(5, seeds=tiny_source(), judge=judge, rewrite_fraction=1.0)
    games.reset(seed=0)
    while requests := games.requests():
        games.step(["text"] * len(requests))
    assert (judge.calls, len(judge.asked), len(games.episodes)) == (1, 5, 5)


def test_requests_have_addresses_of_their_own_that_repeat_with_the_seed():
    def addresses(games, seed):
        games.reset(seed=seed)
        found = [x.game for x in games.requests()]
        games.reset()
        return [*found, *(x.game for x in games.requests())]

    first, second = (addresses(VectorGame(3, **tiny()), seed=4) for _ in range(2))
    assert first == second
    assert len(set(first)) == 6


def test_games_can_be_fixed_for_all_or_one_by_one():
    games = VectorGame(2, **tiny())
    seeds = [Seed(id=str(k), text=f"text {k}", harmful=True) for k in range(2)]
    games.reset(options=[{"seed": x, "rewritten": True} for x in seeds])
    assert [x.seed for x in games.requests()] == seeds
    games.reset(np.array([3, 4]), options={"rewritten": False})
    assert {x.role for x in games.requests()} == {"defender"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["one"], "was given 1 texts for 2 requests"),
        ("ab", "was given one text; give a list"),
        (["one", 2], "2"),
        (None, "was given NoneType; give a list"),
        ((text for text in ("one", "two")), "was given generator; give a list"),
        ({"one", "two"}, "was given set; give a list"),
    ],
)
def test_wrong_answers_leave_all_games_as_they_stood(texts, message):
    games = VectorGame(2, **tiny())
    games.reset(seed=1)
    before = games.requests()
    with pytest.raises(RedteamError, match=message):
        games.step(texts)
    assert games.requests() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorGame(0), "games is 0"),
        (lambda: VectorGame(2, judgee="lexical"), "judgee"),
        (lambda: VectorGame(2, render_mode="ansi"), "leave it out"),
        (lambda: VectorGame(2).requests(), r"call reset\(\) first"),
        (lambda: VectorGame(2).reset(seed=[1]), "1 seeds for 2 games"),
        (lambda: VectorGame(2).reset(seed=-1), "seed is -1"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(RedteamError, match=message):
        make()


def test_a_world_brings_its_settings():
    games = VectorGame(2, world="apothecary")
    games.reset(seed=0)
    assert games.sessions[0].world is not None
    assert len(games.requests()) == len(games) == 2
