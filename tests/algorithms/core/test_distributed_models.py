"""Two processes and a real model: adapters as one process trains them, and the launchers that start them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank_worker
from rank_launch import (
    distance,
    launch,
    launch_jobs,
    metric_distance,
    plays,
    weights,
)
from tiny_models import save_prompts, save_tiny
from training_fakes import metrics

from redteam_env.runs import Run

pytestmark = pytest.mark.slow
CASES = [
    f"{algorithm}, {arrangement}"
    for algorithm in ("reinforce_pp", "grpo", "ppo", "mappo", "online_dpo", "rae")
    for arrangement in ("bipolicy", "shared")
]
NOISE = {f"{role}/{what}" for role in ("attacker", "defender") for what in ("accuracy", "value")}
NOISE |= {f"{name}_{what}" for name in NOISE for what in ("explained", "loss")}
"""The sign of a margin of 0, and heads that Adam moves along a gradient of 0, up to rounding: they
differ as much in one process with other micro-batches."""
LAUNCHERS = {
    "torchrun": "--nproc-per-node 2",
    "accelerate": "launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no",
}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "steps": 2,
        "games": 8,
        "group_size": 2,
        "checkpoint_every": 1,
        "json": True,
        "seeds": "words",
        "judge": "words",
        "prompts": str(save_prompts(root / "prompts")),
        "model": str(save_tiny(root / "tiny", scale=0.15)),
        "rank": 4,
        "max_new_tokens": 6,
        "device": "cpu",
        "lr": 1e-3,
        "rewrite_fraction": 0.75,
        "minibatch": 3,
        "micro_batch": 2,
        "epochs": 2,
    }


@pytest.fixture(scope="module")
def two(options, tmp_path_factory):
    """All cases, done by two processes that are started once."""
    root = tmp_path_factory.mktemp("two")
    jobs = {}
    for case in CASES:
        algorithm, arrangement = case.split(", ")
        jobs[case] = {**options, "algorithm": algorithm, "arrangement": arrangement}
        jobs[case] |= {"value_lr": 1e-3} if algorithm in {"ppo", "mappo"} else {}
        jobs[case]["out"] = str(root / case)
    done = launch_jobs(root / "jobs.json", jobs)
    assert list(done.values()) == [[{"steps": 2, "finished": True}] * 2] * len(jobs)
    return jobs


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_adapters_as_one_does(two, tmp_path, case):
    rank_worker.plug_in()
    own, one = two[case]["out"], str(tmp_path / "one")
    rank_worker.job({**two[case], "out": one})
    assert [turn for *_, turn in plays(own)] == [turn for *_, turn in plays(one)]
    assert metric_distance(own, one, but=NOISE) < 1e-5
    for step in (1, 2):
        pair = [adapters(weights(run, step)) for run in (own, one)]
        assert distance(*pair) < 1e-5
    assert distance(adapters(weights(own, 1)), pair[0]) > 1e-4


def adapters(tensors):
    return {name: tensor for name, tensor in tensors.items() if "lora_" in name}


def words(options, **more):
    chosen = {**options, **more}
    chosen.pop("json")
    return [w for k, v in chosen.items() for w in (f"--{k.replace('_', '-')}", str(v))]


def launching(launcher):
    program = Path(sys.executable).with_name(launcher)
    return [str(program), *LAUNCHERS[launcher].split(), "-m", "redteam_env.cli.main", "train"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_starts_processes_that_train_together(options, tmp_path, launcher):
    own = words(options, out=tmp_path / "run", seeds="builtin", judge="lexical")
    result = subprocess.run(
        [*launching(launcher), *own], capture_output=True, text=True, check=False, timeout=240
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("2 of 2 steps done") == 1
    assert result.stderr.count("step 2/2 ·") == 1
    assert len(metrics(tmp_path / "run")) == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["processes"] == 2


def test_ctrl_c_on_the_launcher_saves_once_and_the_run_goes_on(options, tmp_path):
    own = words(options, out=tmp_path / "run", seeds="builtin", judge="lexical", steps=100_000)
    own += ["--checkpoint-every", "100000"]
    process = subprocess.Popen(
        [*launching("torchrun"), *own], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    run = tmp_path / "run"
    try:
        deadline = time.monotonic() + 180
        while not (run / "metrics.jsonl").exists() or len(metrics(run)) < 2:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode != 0
    assert out.count("Stopped by Ctrl-C") == 1
    assert Run(run).latest().step == len(metrics(run)) >= 2


def test_a_wrong_option_is_explained_once(options):
    codes, outs, errors = launch("command", "train", "--no-such-option", "1")
    assert codes == [2, 2]
    assert outs == ["", ""]
    assert "--no-such-option" in errors[0]
    assert errors[1] == ""


def test_a_process_that_vanishes_ends_the_others_with_a_message(options, tmp_path):
    own = words(options, out=tmp_path / "run", judge="vanishing")
    codes, outs, errors = launch("command", "train", *own)
    assert codes == [2, 9]
    assert outs == ["", ""]
    assert "Process 0 of 2 lost the others; one of them ended" in errors[0]
    assert "Traceback" not in errors[0]
    assert Run(tmp_path / "run").latest().step == 1
