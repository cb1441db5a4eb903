"""Turns that are credited each with its own: what is paid, who can learn from it, and what it teaches."""

from dataclasses import replace
from statistics import mean

import pytest
from table_policy import generation
from test_algorithms_learn import BUILT_IN, options
from turn_game import LuckThenSkill, SkillThenLuck, SummedPay, TurnPlayers

from algorithms.core.config import PolicyGradientConfig
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env import register
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Episode,
    Exchange,
    RedteamError,
    Seed,
    Turn,
    Verdict,
)
from redteam_env.registry import load
from redteam_env.rollout import role_batches

SEEDS = range(3)


@pytest.fixture
def learnt(doubles, tmp_path):
    """Train a defender of two exchanges; return how likely it is to be right in each."""

    def run(algorithm, seed, judge, *callbacks, **more):
        doubles("judges", "turns", judge)
        given = {
            "judge": "turns",
            "rewards": "self_redteam",
            "benign_fraction": 1.0,
            "exchanges": 2,
            "attacker_lr": 0.0,
            "kl": 0.0,
            "lr": 0.1,
            "games": 32,
            "steps": 16,
            "seed": seed,
            **more,
        }
        policy = TurnPlayers()
        out = tmp_path / "-".join(
            (algorithm, str(seed), str(len(callbacks)), *map(str, more.values()))
        )
        config = TrainConfig.from_flat(options(algorithm, out, **given))
        train(config, policy=policy, callbacks=callbacks)
        return policy.tables["defender"].detach().softmax(-1)[:, 0].tolist()

    return run


def test_turns_learn_from_their_own_pay_where_the_games_sum_drowns_it(learnt):
    """The same games pay the same: only whether a turn is credited with the other exchange, too."""
    luck = {"credit": "turn", "benign_refusal_weight": 60.0, "reward_clip": 1e3, "games": 16}
    own = [learnt("grpo", seed, LuckThenSkill, **luck)[1] for seed in SEEDS]
    summed = [learnt("grpo", seed, LuckThenSkill, SummedPay(), **luck)[1] for seed in SEEDS]
    assert min(own) > 0.85
    assert mean(summed) < 0.65


@pytest.mark.parametrize("algorithm", ["reinforce_pp", "mappo"])
def test_an_early_exchange_is_learnt_only_where_it_is_judged_itself(learnt, algorithm):
    by_turn, by_episode = (
        [learnt(algorithm, seed, SkillThenLuck, credit=credit)[0] for seed in SEEDS]
        for credit in ("turn", "episode")
    )
    assert min(by_turn) > 0.9
    assert mean(by_episode) < 0.6


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_every_algorithm_learns_from_turns_or_refuses_them_early(learnt, tmp_path, algorithm):
    if getattr(load("algorithms", algorithm), "turn_credit", False):
        assert learnt(algorithm, 0, SkillThenLuck, credit="turn")[0] > 0.8
        return
    with pytest.raises(RedteamError, match=rf"credit is 'turn', but {algorithm} learns from whole"):
        learnt(algorithm, 0, SkillThenLuck, credit="turn", kl=0.1)
    assert not any(tmp_path.iterdir())


def test_an_algorithm_that_says_nothing_of_turns_is_refused_them(learnt):
    class Silent:
        Config = PolicyGradientConfig

        def __init__(self, config, *, policy, game, seed):
            pass

    register("algorithms", "silent", Silent)
    with pytest.raises(RedteamError, match="credit is 'turn', but silent learns from whole games"):
        learnt("silent", 0, SkillThenLuck, credit="turn")


def test_a_row_is_credited_from_its_exchange_on_and_compared_with_its_like():
    pays = [(1.0, 2.0, 4.0), (8.0, 16.0, 32.0)]
    rows = role_batches([paid_by_exchange(own, group=7) for own in pays])["defender"]
    assert rows.rewards.tolist() == [7.0, 6.0, 4.0, 56.0, 48.0, 32.0]
    assert rows.games.tolist() == [0, 1, 2, 3, 4, 5]
    assert rows.turn_index.tolist() == [1, 3, 5] * 2
    first, second, third = rows.groups[:3]
    assert len({first, second, third}) == 3
    assert rows.groups.tolist() == [first, second, third] * 2


def test_without_exchanges_every_row_has_the_reward_of_its_game():
    games = [replace(paid_by_exchange((1.0, 2.0), group=3), exchanges=())]
    rows = role_batches(games)["defender"]
    assert rows.rewards.tolist() == [3.0, 3.0]
    assert rows.games.tolist() == [0, 0]
    assert rows.groups.tolist() == [3, 3]


def test_what_a_callback_adds_to_a_game_counts_for_every_turn():
    game = paid_by_exchange((1.0, 2.0), group=0)
    rows = role_batches([replace(game, rewards={DEFENDER: 13.0})])["defender"]
    assert rows.rewards.tolist() == [13.0, 12.0]


def paid_by_exchange(pays, *, group):
    """A game that paid the defender so much in each exchange."""
    turns = [
        Turn(seat=seat, text="a", visible="a", generation=generation((k,), (0.0,)))
        for k in range(len(pays))
        for seat in (ATTACKER, DEFENDER)
    ]
    verdict = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=False)
    return Episode(
        seed=Seed(id="s", text="x", harmful=True),
        rewritten=True,
        turns=tuple(turns),
        verdict=verdict,
        rewards={DEFENDER: sum(pays)},
        components={DEFENDER: {"harm": sum(pays)}},
        samples=(DEFENDER,),
        group=group,
        exchanges=tuple(
            Exchange(verdict=verdict, components={DEFENDER: {"harm": pay}}) for pay in pays
        ),
    )
