"""Ctrl-C finishes the step and saves; a second one stops at once and loses that step only."""

import signal
import subprocess
import sys
import threading
import time

import pytest
from training_fakes import CallbackJudge, contents, metrics

from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.runs import Run


@pytest.fixture
def press(doubles):
    """Let the judge press Ctrl-C at given calls, so and so often; returns the switch."""
    plan: dict[int, int] = {}
    state = {"calls": 0}

    def before():
        state["calls"] += 1
        for _ in range(plan.get(state["calls"], 0)):
            signal.raise_signal(signal.SIGINT)

    doubles("judges", "pressed", lambda: CallbackJudge(before=before))

    def switch(times):
        plan.clear()
        plan.update(times)
        state["calls"] = 0

    return switch


def test_ctrl_c_finishes_the_step_saves_and_resumes_bit_for_bit(tiny_config, tmp_path, press):
    options = {"steps": 4, "checkpoint_every": 3, "judge": "pressed"}
    before = signal.getsignal(signal.SIGINT)
    press({2: 1})
    outcome = train(tiny_config(**options))
    assert (outcome.steps, outcome.played, outcome.finished) == (2, 2, False)
    assert signal.getsignal(signal.SIGINT) is before
    assert Run(tmp_path / "run").latest().step == 2
    assert len(metrics(tmp_path / "run")) == 2
    press({})
    assert train(tiny_config(**options, resume=True)).finished
    train(tiny_config(**options, out=str(tmp_path / "whole")))
    for name in ("checkpoints/step-000004", "episodes"):
        assert contents(tmp_path / "run", name) == contents(tmp_path / "whole", name)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_ctrl_c_in_the_last_step_finishes_the_run(tiny_config, press):
    press({2: 1})
    assert train(tiny_config(judge="pressed")).finished


def test_a_second_ctrl_c_stops_at_once_and_loses_that_step_only(tiny_config, tmp_path, press):
    options = {"steps": 3, "judge": "pressed"}
    before = signal.getsignal(signal.SIGINT)
    press({2: 2})
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(**options))
    assert signal.getsignal(signal.SIGINT) is before
    assert Run(tmp_path / "run").latest().step == 1
    press({})
    assert train(tiny_config(**options, resume=True)).played == 2


def test_a_run_outside_the_main_thread_leaves_signals_alone(tiny_config):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(train(tiny_config(steps=1))))
    thread.start()
    thread.join()
    assert outcomes[0].finished


def test_the_command_says_how_to_go_on_and_exits_with_130(arguments, press, capsys):
    press({1: 1})
    assert main(arguments(judge="pressed", json=False)) == 130
    shown = capsys.readouterr().out
    assert "1 of 2 steps done" in shown
    assert "--resume" in shown
    press({})
    assert main(arguments("--resume", judge="pressed", json=False)) == 0
    assert "2 of 2 steps done" in capsys.readouterr().out


def test_the_command_says_what_a_second_ctrl_c_loses(arguments, press, capsys):
    press({2: 2})
    assert main(arguments(judge="pressed", json=False, checkpoint_every=1)) == 130
    shown = capsys.readouterr().err
    assert "what came after the last checkpoint (step 1) is not kept" in shown
    assert "--resume goes on from there" in shown


def test_case_a4_sigterm_is_ctrl_c_with_an_exit_code_of_its_own(arguments, capsys, doubles):
    judge = CallbackJudge(before=lambda: signal.raise_signal(signal.SIGTERM))
    doubles("judges", "terminated", lambda: judge)
    before = signal.getsignal(signal.SIGTERM)
    assert main(arguments(judge="terminated", json=False)) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert "1 of 2 steps done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("told", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_process_that_is_told_to_end_saves_exits_and_resumes(
    arguments, tiny_config, tmp_path, capsys, told
):
    number, code = told
    run = tmp_path / "run"
    options = {"judge": "lexical", "seeds": "builtin", "checkpoint_every": 100_000, "games": 4}
    command = [sys.executable, "-m", "redteam_env.cli.main", *arguments(steps=100_000, **options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (run / "metrics.jsonl").exists() or len(metrics_so_far(run)) < 2:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    done = Run(run).latest().step
    assert done == len(metrics(run)) >= 2
    assert f'"steps": {done}' in out
    assert main(arguments("--resume", steps=done + 1, **options)) == 0
    assert len(metrics(run)) == done + 1


def metrics_so_far(run) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()
