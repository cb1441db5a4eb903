"""In a game without pure equilibrium PSRO's mixture comes close to it; self-play runs in a circle."""

import json

import numpy as np
import pytest
from league_fakes import LeaguePlayers, mixture
from table_game import MatrixJudge

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train

CYCLE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
"""Harm if the defender says the attacker's letter: the attacker hunts, the defender flees."""


class Watched(LeaguePlayers):
    """Notes the chances of all letters whenever weights change."""

    def __init__(self):
        super().__init__(start=[0.8, 0.0, -0.4])
        self.seen = {"attacker": [], "defender": []}

    def publish(self, weights):
        self.seen[weights].append(self.tables[weights][0].detach().softmax(-1).numpy().copy())
        return super().publish(weights)


def gap(attacker, defender):
    """What best responses gain in all; 0 at the equilibrium, 1 if both are pure."""
    return float(defender.max() - attacker.min())


@pytest.fixture
def play(doubles, tmp_path):
    def run(opponents, **more):
        doubles("judges", "cycle", lambda: MatrixJudge(matrix=CYCLE))
        policy = Watched()
        options = {
            "steps": 40,
            "games": 16,
            "checkpoint_every": 100,
            "json": True,
            "seeds": "words",
            "judge": "cycle",
            "rewards": "safety_only",
            "rewrite_fraction": 1.0,
            "lr": 0.2,
            "kl": 0.0,
            "opponents": opponents,
            "out": str(tmp_path / opponents),
            **more,
        }
        return policy, train(TrainConfig.from_flat(options), policy=policy).directory

    return run


def test_psro_approaches_the_equilibrium_where_self_play_circles(play):
    policy, _ = play("self_play")
    late = zip(*(policy.seen[name][-15:] for name in ("attacker", "defender")), strict=True)
    assert np.mean([gap(x, y) for x, y in late]) > 0.7
    _, run = play("psro", round_steps=5, payoff_games=32, response_from="first")
    state = json.loads(next(run.glob("checkpoints/*/league.json")).read_text())["state"]
    attacker = mixture(run, state["attackers"], state["meta"]["attacker"])
    defender = mixture(run, state["defenders"], state["meta"]["defender"])
    assert gap(attacker, defender) < 0.3
