"""Numbers of numpy where people give them: seeds, rewards, weights, settings."""

import json

import gymnasium
import numpy as np
import pytest
from test_border_judges import GAMES, Says, agents, fair, one_by_one
from test_rollout import SOURCE

import redteam_env
from redteam_env import Game, RedteamError, RewardTable, Seed
from redteam_env.evaluation import compare, crossplay, evaluate
from redteam_env.evaluation.matchup import heldout_setups
from redteam_env.game import DEFENDER
from redteam_env.rollout import play, schedule

JUDGE = one_by_one(fair())
OPTIONS = {"seeds": SOURCE, "judge": JUDGE, "thinking": {}}


def rewarded(pay):
    """Play with a reward function that pays each role alike."""
    table = RewardTable(name="own", function=lambda signs: dict.fromkeys(signs, pay))
    return play(GAMES, agents(), JUDGE, game=Game(rewards=table))


@pytest.mark.parametrize(
    "pay",
    [np.float32(0.5), np.float64(0.5), np.float16(0.5), np.array(0.5), np.array([0.5])],
    ids=lambda pay: f"{type(pay).__name__}-{pay.dtype}",
)
def test_case_30_a_reward_of_numpy_is_a_reward(pay):
    episodes = rewarded(pay)
    assert episodes == rewarded(0.5)
    assert all(json.dumps(episode.to_json()) for episode in episodes)
    assert type(episodes[0].rewards["defender_0"]) is float


@pytest.mark.parametrize("pay", [np.int64(1), np.uint8(1), np.bool_(1), True])
def test_case_30_whole_numbers_are_rewards_too(pay):
    assert rewarded(pay) == rewarded(1.0)


@pytest.mark.parametrize(
    "pay", [np.float32("nan"), np.float32("inf"), np.ones(2), "0.5", None, 1j, 10**400]
)
def test_case_30_what_is_no_finite_number_is_one_line_with_the_game(pay):
    with pytest.raises(RedteamError) as caught:
        rewarded(pay)
    assert "reward function of 'own' returned" in str(caught.value)
    assert f"game {GAMES[0].path} of seed '{GAMES[0].seed.id}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda signs: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda signs: 0.5, "returned 0.5"),
        (lambda signs: {"defender": 0.5}, "returned {'defender': 0.5}"),
    ],
)
def test_a_reward_function_that_fails_is_named(function, came):
    table = RewardTable(name="own", function=function)
    with pytest.raises(RedteamError, match=f"reward function of 'own' {came}") as caught:
        play(GAMES, agents(), JUDGE, game=Game(rewards=table))
    assert "one finite number for each of ['attacker', 'defender']" in str(caught.value)


def test_a_reward_function_cannot_wait():
    async def pay(signs):
        return dict.fromkeys(signs, 1.0)

    table = RewardTable(name="own", function=pay)
    with pytest.raises(RedteamError, match="'own' returned <coroutine"):
        play(GAMES, agents(), JUDGE, game=Game(rewards=table))


def test_weights_of_numpy_are_weights():
    def table(weight):
        return RewardTable(name="own", weights={"defender": {"defender.harm": weight}})

    assert table(np.float32(2)) == table(2.0)
    assert json.dumps(table(np.float32(2)).weights)
    with pytest.raises(RedteamError, match=r"weight of defender.harm for defender is .*nan"):
        table(np.float32("nan"))


SEEDS = [np.int64(3), np.int32(3), np.uint8(3)]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: type(seed).__name__)
@pytest.mark.parametrize("make", [redteam_env.raw_env, redteam_env.parallel_env])
def test_case_31_an_environment_takes_a_seed_of_numpy(make, seed):
    def first(seed):
        env = make(**OPTIONS)
        env.reset(seed=seed)
        return env.unwrapped.session.state

    assert first(seed) == first(3)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: type(seed).__name__)
def test_case_31_a_single_seat_takes_a_seed_of_numpy(seed):
    def first(seed):
        env = gymnasium.make("redteam/Defender-v0", **OPTIONS)
        return env.reset(seed=seed)

    assert str(first(seed)) == str(first(3))


@pytest.mark.parametrize("seed", [-1, np.int64(-1), 3.0, np.float64(3), "3", True])
def test_case_31_what_is_no_seed_is_one_line(seed):
    for env in (redteam_env.raw_env(**OPTIONS), redteam_env.single_seat(DEFENDER, **OPTIONS)):
        with pytest.raises(RedteamError, match=r"seed is .*; give a whole number of at least 0"):
            env.reset(seed=seed)


def test_case_31_so_do_rollouts_and_evaluations():
    three = np.int64(3)
    assert schedule(SOURCE, 4, path=(three, "step", 0)) == schedule(SOURCE, 4, path=(3, "step", 0))
    games = heldout_setups(SOURCE, 4, three)
    assert games == heldout_setups(SOURCE, 4, 3)
    matchup = evaluate(Says(), Says(), games, JUDGE)
    assert compare(matchup, matchup, seed=three) == compare(matchup, matchup, seed=3)
    sides = {"own": Says()}
    tables = [crossplay(sides, sides, games, JUDGE, seed=seed) for seed in (three, 3)]
    assert json.dumps(tables[0].to_json()) == json.dumps(tables[1].to_json())
    with pytest.raises(RedteamError, match=r"seed is 1.5"):
        heldout_setups(SOURCE, 4, 1.5)


def test_options_of_a_game_of_numpy_are_options():
    env = redteam_env.raw_env(**OPTIONS, exchanges=np.int64(1))
    seed = Seed(id="a", text="How?", harmful=np.bool_(1))
    env.reset(seed=3, options={"seed": seed, "rewritten": np.bool_(0)})
    env.step("No.")
    assert json.dumps(env.episode.to_json())
    with pytest.raises(RedteamError, match=r'options\["rewritten"\] is \'no\'; give True or False'):
        env.reset(options={"rewritten": "no"})
    with pytest.raises(
        RedteamError, match=r'options\["seed"\] gave a Seed whose harmful is \'no\''
    ):
        env.reset(options={"seed": Seed(id="a", text="How?", harmful="no")})
