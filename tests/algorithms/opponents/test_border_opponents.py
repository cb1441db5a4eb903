"""What opponent samplers of others return is checked: who plays whom, what is logged and kept."""

import json

import numpy as np
import pytest
from league_fakes import LeaguePlayers
from table_game import MatrixJudge
from test_algorithms_learn import options
from test_border_training import refusal
from training_fakes import metrics

from algorithms import train
from algorithms.opponents.alternating import AlternatingConfig
from redteam_env.protocols import Match
from redteam_env.runs import Run


@pytest.fixture
def run(doubles, tmp_path):
    """Train players with a past for two steps against those of ``own``; returns the run directory."""
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((0, 1, 1), (0, 0, 1), (0, 0, 1))))

    def start():
        given = options("reinforce", tmp_path / "run", steps=2, opponents="own")
        return train(policy=LeaguePlayers(), **given).directory

    return start


def sampler(doubles, **methods):
    """Register the opponent sampler ``own``: current weights play and learn, but for other methods."""

    class Own:
        Config = AlternatingConfig

        def __init__(self, config, *, league, seed):
            self.league = league

        def match(self):
            return Match(players=dict(self.league.weights), learners=("attacker", "defender"))

        def matches(self, step, rewritten):
            return [self.match() for _ in rewritten]

        def finish(self, step, results):
            return {}

        def state(self):
            return {}

        def load_state(self, state):
            pass

    for name, method in methods.items():
        setattr(Own, name, method)
    doubles("opponents", "own", Own)


MATCH = Match(players={"attacker": "attacker", "defender": "defender"}, learners=("attacker",))


@pytest.mark.parametrize(
    ("methods", "came"),
    [
        ({"matches": lambda self, step, rewritten: None}, "returned nothing, for step 0"),
        (
            {"matches": lambda self, step, rewritten: [MATCH]},
            "gave 1 matches for 16 groups of games",
        ),
        (
            {"matches": lambda self, step, rewritten: [{"players": {}}] * 16},
            "gave dict in place of a Match, for group 0 of step 0",
        ),
        (
            {
                "matches": lambda self, step, rewritten: (
                    [Match(players={"attacker": "stranger"}, learners=())] * 16
                )
            },
            "lets 'stranger' play the attacker, for group 0 of step 0",
        ),
        (
            {
                "matches": lambda self, step, rewritten: (
                    [Match(players={"attacker": "attacker@0"}, learners=("attacker",))] * 16
                )
            },
            "lets the attacker learn from games that 'attacker@0' plays",
        ),
        ({"finish": lambda self, step, results: None}, "returned None"),
        ({"finish": lambda self, step, results: {"x": "y"}}, "gave metrics in which 'x' is 'y'"),
        ({"state": lambda self: {"seen": {1}}}, "returned 'seen', which holds {1}"),
        ({"matches": lambda self, step, rewritten: 1 / 0}, "raised ZeroDivisionError"),
    ],
)
def test_an_opponent_sampler_that_breaks_its_protocol_is_named(run, doubles, methods, came):
    sampler(doubles, **methods)
    error = refusal(run)
    assert f"The opponent sampler 'own' {came}" in error


def test_what_a_sampler_keeps_and_logs_may_hold_numbers_of_numpy(run, doubles):
    sampler(
        doubles,
        finish=lambda self, step, results: {"own/games": np.int64(len(results))},
        state=lambda self: {"steps": np.arange(2)[1]},
    )
    out = run()
    assert [row["own/games"] for row in metrics(out)] == [16, 16]
    league = json.loads((Run(out).latest().path / "league.json").read_text("utf-8"))
    assert league["state"] == {"steps": 1}
