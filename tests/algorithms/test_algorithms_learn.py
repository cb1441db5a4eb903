"""Every algorithm learns: which letter pays, and both sides of a matrix game in text form."""

import pytest
from table_game import MatrixJudge, players
from training_fakes import metrics

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.registry import load, names

BUILT_IN = [
    name
    for name in names("algorithms")
    if "." not in name
    and not hasattr(load("algorithms", name), "train")  # those play by themselves
]
BANDITS = {  # rows are the attacker's letters, columns the defender's
    "attacker": ((1, 1, 1), (0, 0, 0), (0, 0, 0)),
    "defender": ((0, 1, 1), (0, 1, 1), (0, 1, 1)),
}
DOMINANCE = ((0, 1, 1), (0, 0, 1), (0, 0, 1))
"""Harm. With the pay for faithful rewrites, ``a`` is the attacker's best row against any column; it
is the defender's best column. So there is one equilibrium, and the attacker does no harm in it."""


def options(algorithm, out, **more):
    return {
        "algorithm": algorithm,
        "steps": 12,
        "games": 16,
        "group_size": max(1, 4 * (getattr(load("algorithms", algorithm), "least_group", 1) > 1)),
        "checkpoint_every": 100,
        "json": True,
        "seeds": "words",
        "judge": "matrix",
        "rewards": "safety_only",
        "rewrite_fraction": 1.0,
        "lr": 0.4,
        "out": str(out),
        **more,
    }


@pytest.fixture
def play(doubles, tmp_path):
    def run(algorithm, matrix, policy, **more):
        doubles("judges", "matrix", lambda: MatrixJudge(matrix=matrix))
        config = TrainConfig.from_flat(options(algorithm, tmp_path / "run", **more))
        return metrics(train(config, policy=policy).directory)

    return run


def chance(policy, role, letter):
    return float(
        policy.tables[policy.weights_of(role)][0].detach().softmax(-1)["abc".index(letter)]
    )


@pytest.mark.parametrize("role", BANDITS)
@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_the_letter_that_pays_is_learnt(play, algorithm, role):
    policy = players()
    rows = play(algorithm, BANDITS[role], policy)
    assert chance(policy, role, "a") > 0.8
    assert rows[-1][f"{role}/reward"] > rows[0][f"{role}/reward"] + 0.5
    for name in ("kl", "loss", "entropy", "advantage", "advantage_abs", "lr", "logprob_gap"):
        assert isinstance(rows[0][f"{role}/{name}"], float), name


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_both_sides_of_a_matrix_game_find_its_equilibrium(play, algorithm):
    policy = players()
    rows = play(algorithm, DOMINANCE, policy, rewards="self_redteam", benign_fraction=0.0)
    assert chance(policy, "attacker", "a") > 0.8
    assert chance(policy, "defender", "a") > 0.8
    assert rows[-1]["game/attack_success"] < 0.3


@pytest.mark.parametrize("algorithm", [name for name in BUILT_IN if name != "online_dpo"])
def test_an_entropy_bonus_keeps_its_role_undecided(play, algorithm):
    policy = players()
    game = {"rewards": "self_redteam", "benign_fraction": 0.0}
    rows = play(algorithm, DOMINANCE, policy, attacker_entropy_bonus=20.0, **game)
    assert chance(policy, "attacker", "a") < 0.6
    assert rows[-1]["attacker/entropy"] > 0.9
    assert chance(policy, "defender", "a") > 0.8
