"""Trainings that are killed again and again, some inside a write, end as one that was left alone.

REDTEAM_ENV_TEST_KILLS says how often each is killed at least; 6 times without it.
"""

import multiprocessing
import os
import signal

import pytest
import torch
from training_fakes import WordJudge, contents, metrics, words_source

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env import registry
from redteam_env.randomness import generator
from redteam_env.runs import CONFIG
from redteam_env.testing import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["algorithms.training.trainer", "agents.lora.policy"])
SHORT = {"steps": 4, "games": 4, "rank": 1, "max_new_tokens": 3, "rewrite_fraction": 0.75}
KILLS = int(os.environ.get("REDTEAM_ENV_TEST_KILLS", "6"))
RUNS = {
    "train": {"checkpoint_every": 2},
    "fictitious": {"opponents": "fictitious", "snapshot_every": 1, "history": 2},
    "psro": {"opponents": "psro", "round_steps": 1, "payoff_games": 2, "history": 2},
}
MOST = 10
"""Kills of one run, before it is left to end."""


def trained(options, fails_at):
    """Train in a process of its own, which is killed at an operation on a file."""
    torch.set_num_threads(1)
    registry.register("judges", "words", WordJudge)
    registry.register("seeds", "words", words_source)
    with faults.faulty_disk(options["out"], faults.When(at=fails_at), crash=True):
        train(TrainConfig.from_flat(options))


def left(run):
    """All that a run leaves but the clock and what it says of its sessions; nothing half written."""
    hidden = [x.name for x in run.rglob(".*")]
    return contents(run, "checkpoints", "episodes", "opponents"), metrics(run), hidden


def run(options, *, dies_after=None, fails_at=None):
    """Train, and kill it after seconds or inside an operation on a file; return whether it was killed."""
    process = FORKED.Process(target=trained, args=(options, fails_at))
    process.start()
    process.join(dies_after)
    process.kill()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def fate(rng):
    """Draw when a training is to die: at any moment, or inside any operation on a file."""
    if rng.random() < 0.5:
        return {"dies_after": rng.uniform(0.1, 5.0)}
    return {"fails_at": int(rng.integers(1, 400))}


@pytest.mark.parametrize("kind", RUNS)
def test_a_training_that_is_killed_again_and_again_ends_as_one_that_was_left_alone(
    tiny_options, tmp_path, kind
):
    options = {**tiny_options, **SHORT, **RUNS[kind]}
    assert not run({**options, "out": str(tmp_path / "whole")})
    whole = left(tmp_path / "whole")
    rng = generator((0, "kills", kind))
    done = 0
    while done < KILLS:
        out = tmp_path / f"run-{done}"
        for k in range(MOST + 1):
            again = {**options, "out": str(out), "resume": (out / CONFIG).is_file()}
            if not run(again, **(fate(rng) if k < MOST else {})):
                break
            done += 1
        assert left(out) == whole
