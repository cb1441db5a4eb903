"""What a person is told while a run goes on: steps, and a warning where there is nothing to learn."""

import re
import signal
from types import MappingProxyType

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options

from algorithms import train

WARNING = "more than 95% of the attacker's games paid the same (attacker/signal is 0.01)"


class Signals:
    """Logs given shares as the attacker's signal, one a step, and further figures."""

    def __init__(self, values, **more):
        self._values, self._more = values, more

    def on_update(self, step, row):
        row |= {"attacker/signal": self._values[step], "defender/signal": 0.5, **self._more}


@pytest.fixture
def told(doubles, tmp_path, capsys):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def run(values, policy=None, out="run", rows=MappingProxyType({}), pressing=Signals, **more):
        given = {"steps": len(values), "games": 4, "json": False, **more}
        train(
            policy=policy or players(),
            callbacks=[pressing(values, **rows)],
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
    assert "paid the same" not in told([0.01] * 12, frozen, out="frozen")


def test_a_pipe_has_lines_for_model_phases_and_steps(told):
    lines = told([0.5] * 2, rows={"attacker/truncated": 0.25}).splitlines()
    assert lines[0].startswith("Model: ")
    assert "Trained: attacker, defender." in lines[0]
    assert any(x.startswith("Training: steps 1 to 2, 4 games each") for x in lines)
    steps = [x for x in lines if x.startswith("step ")]
    assert [x.split(" · ")[0] for x in steps] == ["step 1/2", "step 2/2"]
    for part in ("attack success", "att. reward", "def. reward", "tokens/s", "left 0:00:00"):
        assert part in steps[1]
    assert "cut turns 0.25 + " in steps[1]


def test_quiet_leaves_warnings_only(told):
    shown = told([0.01] * 10, quiet=True)
    assert "step " not in shown.replace("steps", "").replace("games a step", "")
    assert "Model:" not in shown
    assert WARNING in shown


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"attacker/forfeits": 0.4}, "40% of the attacker's turns are forfeited"),
        ({"defender/format_violations": 0.31}, "31% of the defender's turns break the format"),
        ({"defender/truncated": 1.0}, "100% of the defender's turns are cut at a limit"),
        ({"game/faithfulness": 0.5}, "50% of the rewrites do not have their seed's label"),
    ],
)
def test_a_fault_of_more_than_three_tenths_is_warned_of_once(told, rows, words):
    assert told([0.5] * 12, rows=rows).count(f"Warning: {words}") == 1


def test_smaller_faults_are_not_warned_of(told):
    rows = {"attacker/forfeits": 0.3, "defender/truncated": 0.2, "game/faithfulness": 0.7}
    assert "Warning" not in told([0.5] * 12, rows=rows)


@pytest.mark.parametrize("width", [80, 50, 40])
def test_a_terminal_is_never_too_narrow_for_a_number(told, monkeypatch, width):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "60")
    values = {"attacker/reward": -0.53217, "attacker/kl": 1.35e-5, "game/void": 3}
    shown = told([0.5] * 3, rows={**values, "defender/reward": float("nan")})
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "…" not in shown
    last = shown[shown.rindex("attacker reward") :]
    assert max(len(line.rstrip()) for line in last.splitlines()) <= width
    row = next(x for x in reversed(last.splitlines()) if re.match(r"3\s", x)).split()
    assert row[0] == "3"
    assert row[2:5] == ["-0.532", "-", "3"]
    assert "last game: " in last
    assert "[redacted: " in last


def test_ctrl_c_is_answered_at_once(told):
    class Press(Signals):
        def on_update(self, step, row):
            super().on_update(step, row)
            if step == 0:
                signal.raise_signal(signal.SIGINT)

    shown = told([0.5] * 3, pressing=Press)
    assert shown.count("Ctrl-C: finishing this step; again to stop now.") == 1
    assert "step 2/3" not in shown
