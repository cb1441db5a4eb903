"""What a person is told while a run goes on: steps, and a warning where there is nothing to learn."""

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options

from algorithms import train

WARNING = "more than 95% of the attacker's games paid the same (attacker/signal is 0.01)"


class Signals:
    """Logs given shares as the attacker's signal, one a step."""

    def __init__(self, values):
        self._values = values

    def on_update(self, step, row):
        row |= {"attacker/signal": self._values[step], "defender/signal": 0.5}


@pytest.fixture
def told(doubles, tmp_path, capsys):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def run(values, policy=None, out="run", **more):
        given = {"steps": len(values), "games": 4, "json": False, **more}
        train(
            policy=policy or players(),
            callbacks=[Signals(values)],
            **options("reinforce", tmp_path / out, **given),
        )
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("terminal", [False, True])
def test_ten_steps_with_little_signal_are_warned_of_once(told, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "400")
    shown = told([0.01] * 12)
    assert shown.count(WARNING) == 1
    assert "defender's games" not in shown


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ([0.01] * 9, 0),
        ([*[0.01] * 9, 0.05, *[0.01] * 9], 0),
        ([*[0.01] * 5, None, *[0.01] * 5], 1),
        ([*[0.01] * 10, 0.5, *[0.01] * 10], 2),
    ],
)
def test_the_steps_must_follow_each_other(told, values, warnings):
    assert told(values).count(WARNING) == warnings


def test_nothing_is_said_with_json_or_of_a_role_that_does_not_learn(told):
    assert told([0.01] * 12, json=True) == ""
    frozen = players({"attacker": "base", "defender": "defender"})
    assert "Warning" not in told([0.01] * 12, frozen, out="frozen")
