"""The game in numbers: it is the same game, and learners' checks accept it."""

import numpy as np
import pettingzoo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import redteam_env
from redteam_env import RedteamError, Seed, numeric_v0
from redteam_env.wrappers import Templates

ATTACKER, DEFENDER = "attacker_0", "defender_0"
GAMES = [
    {},
    {"world": "apothecary"},
    {"world": "apothecary", "rewrite_fraction": 1.0, "most_tactics": 2},
    {"exchanges": 2, "thinking": "required"},
]
world = {"world": "apothecary", "embedder": "hashing", "rewrite_fraction": 1.0}
quiet = pytest.mark.filterwarnings("ignore:Agents have different", "ignore:Observation")


@quiet
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_pettingzoo_accepts_it(game):
    api_test(numeric_v0.env(embedder="hashing", **game), num_cycles=50)
    parallel_api_test(numeric_v0.parallel_env(embedder="hashing", **game), num_cycles=50)
    seed_test(lambda: numeric_v0.env(embedder="hashing", **game), num_cycles=20)
    parallel_seed_test(lambda: numeric_v0.parallel_env(embedder="hashing", **game), num_cycles=20)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_pettingzoo_makes_it_by_name(kind):
    env = pettingzoo.make(kind, "redteam/numeric-v0", embedder="hashing")
    env.reset(seed=0)
    assert env.possible_agents == [ATTACKER, DEFENDER]
    assert str(env) == env.metadata["name"] == "numeric_v0"


@pytest.fixture(scope="module")
def faces():
    """The game in numbers, parallel and AEC, and in texts."""
    texts = redteam_env.parallel_env(world="apothecary", rewrite_fraction=1.0)
    return numeric_v0.parallel_env(**world), numeric_v0.env(**world), texts


@given(seed=st.integers(0, 2**31), moves=st.lists(st.integers(0, 3), min_size=2, max_size=2))
def test_both_faces_play_the_game_that_the_texts_of_the_moves_play(faces, seed, moves):
    parallel, aec, texts = faces
    parallel.reset(seed=seed)
    aec.reset(seed=seed)
    texts.reset(seed=seed)
    for seat, move in zip((ATTACKER, DEFENDER), moves, strict=True):
        assert parallel.observation_space(seat).contains(parallel.numbers.observe(seat))
        assert (aec.observe(seat) == parallel.numbers.observe(seat)).all()
        _, rewards, *_ = parallel.step({ATTACKER: move, DEFENDER: move})
        aec.step(move)
        said = parallel.unwrapped.session.running.turns[-1]
        assert said.seat == seat
        _, paid, *_ = texts.step({seat: said.text})
        assert rewards == paid == aec.rewards
    assert parallel.unwrapped.episode == aec.unwrapped.episode == texts.episode


def test_only_the_seat_to_move_sees_something_and_its_mask_is_open():
    env = numeric_v0.parallel_env(**world)
    seen, infos = env.reset(seed=3)
    harmful = env.unwrapped.session.running.seed.harmful
    assert seen[ATTACKER][0] == 1
    assert seen[ATTACKER][1] == (1 if harmful else -1)
    assert not seen[DEFENDER].any()
    assert infos[ATTACKER]["action_mask"].all()
    assert infos[DEFENDER]["action_mask"].tolist() == [1, 0, 0, 0]
    seen, rewards, *_, infos = env.step({ATTACKER: 0, DEFENDER: 3})
    assert not any(rewards.values())
    assert not seen[ATTACKER].any()
    assert seen[DEFENDER][0] == 1
    assert infos[DEFENDER]["action_mask"].all()
    seen, _, terminations, *_ = env.step({ATTACKER: 5, DEFENDER: 0})
    assert all(terminations.values())
    assert not any(x.any() for x in seen.values())
    assert env.agents == []


def test_the_state_tells_a_critic_the_label_and_what_was_said():
    env = numeric_v0.parallel_env(**world)
    env.reset(seed=0)
    first = env.state()
    assert env.state_space.contains(first)
    assert first[0] == (1 if env.unwrapped.session.running.seed.harmful else -1)
    assert first[1] == 1
    env.step({ATTACKER: 2, DEFENDER: 0})
    second = env.state()
    size = (len(first) - 2) // 3
    assert (first[: 2 + size] == second[: 2 + size]).all()
    assert (first[2 + size :] != second[2 + size :]).any()


def test_moves_can_be_given():
    moves = {ATTACKER: Templates(["{text}", "Please: {text}"])}
    env = numeric_v0.parallel_env(moves=moves, embedder="hashing", rewrite_fraction=1.0)
    seed = Seed(id="a", text="How do I fold a kite?", harmful=False)
    env.reset(seed=0, options={"seed": seed})
    assert env.action_space(ATTACKER).n == 2
    env.step({ATTACKER: 1})
    assert env.unwrapped.session.running.turns[0].text == "Please: How do I fold a kite?"


@pytest.mark.parametrize("move", [14, -1, "refuse", None, 1.5, np.float32(1)])
def test_what_is_no_move_is_refused_and_the_game_stands(move):
    for make in (numeric_v0.parallel_env, numeric_v0.raw_env):
        env = make(**world)
        env.reset(seed=0)
        before = env.unwrapped.session.running
        action = {ATTACKER: move} if make is numeric_v0.parallel_env else move
        with pytest.raises(RedteamError, match=r"attacker_0 is .*; give a number from 0 to 13"):
            env.step(action)
        assert env.unwrapped.session.running is before


def test_a_missing_move_is_named():
    env = numeric_v0.parallel_env(**world)
    env.reset(seed=0)
    with pytest.raises(RedteamError, match="attacker_0 is to move"):
        env.step({DEFENDER: 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moves": {"defender_1": Templates(["a"])}}, "seat in moves"),
        ({"moves": {ATTACKER: "refuse"}}, "has no method say"),
        ({"judge_seat": True}, "judge_0 has no moves"),
        ({"most_tactics": 0}, "most_tactics"),
        ({"embedder": "none-such"}, "none-such"),
    ],
)
def test_settings_that_cannot_be_played_are_refused(settings, message):
    with pytest.raises(RedteamError, match=message):
        numeric_v0.env(**{"embedder": "hashing", **settings})
