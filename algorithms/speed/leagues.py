"""What leagues and the benchmark cost on top of training: part ``leagues``."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from algorithms.speed.arrangements import Trainer
from algorithms.speed.comparison import peak, ratio, seconds
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.worker import Turns, take_turns
from algorithms.studies.bench.config import BenchConfig
from algorithms.studies.bench.tasks import able, do, tasks
from algorithms.studies.executors import Processes
from algorithms.studies.pool import run_tasks
from algorithms.studies.tasks import TRAIN
from algorithms.training.config import TrainConfig
from redteam_env.game import ATTACKER, DEFENDER, Game, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Progress
from redteam_env.rollout import play, schedule
from redteam_env.seeds.resolve import resolve_seeds

PART = "leagues"
_STEPS = 40
"""Steps of the run that is trained by itself and in a benchmark: with 64 games each half of the
benchmark's budget by default. What a benchmark adds does not grow with them."""
_BARE = "import json, sys; from algorithms.training.trainer import train; from algorithms.training.config import TrainConfig; "
_BARE += "train(TrainConfig.from_flat(json.loads(sys.argv[1])))"


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure the memory of a league with many past versions, and what ``bench`` adds to training.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Yields:
        What was measured, as soon as it is.
    """
    total, done = 2 * (options.repeats + 2) + 2, 0

    def report(name: str) -> None:
        nonlocal done
        progress(name, done, total)
        done += 1

    spec = {
        "threads": options.threads,
        "model": options.model,
        "arrangement": "bipolicy",
        "rank": options.rank,
        "length": options.sampled,
        "games": options.few_games,
    }
    sides: dict[str, Any] = {
        "self-play": (step_with_versions, {**spec, "versions": 0}),
        "league": (step_with_versions, {**spec, "versions": options.versions}),
    }
    league = f"league of {options.versions} past versions a seat"
    most: dict[str, float] = {}
    for name, laps in take_turns(sides, warm=1, laps=1, report=report):
        most[name] = peak(laps)
        what = league if name == "league" else name
        yield Measured(what=f"{what}: peak", value=most[name], unit="GB", part=PART)
    what = f"peak memory, {league} / self-play"
    yield ratio(what, most["league"], most["self-play"], 1.2, PART)
    run = {"threads": options.threads, "games": options.games}
    sides = {
        "training": (run_once, {**run, "bench": False}),
        "benchmark": (run_once, {**run, "bench": True}),
    }
    length = f"run of {_STEPS * options.games:,} games, with the start of its process"
    titles = {"training": f"training, a {length}", "benchmark": f"bench, the same {length}"}
    time: dict[str, float] = {}
    for name, laps in take_turns(sides, warm=1, laps=options.repeats, report=report):
        time[name] = seconds(laps, options.threads)
        yield Measured(what=titles[name], value=time[name], unit="s", part=PART)
    what = f"time, bench / training, a {length}"
    yield ratio(what, time["benchmark"], time["training"], 1.03, PART)


def step_with_versions(spec: Mapping[str, Any], turns: Turns) -> None:
    """Train a step; then play a game between past versions of both seats, all of them."""
    trainer = Trainer(spec, Game())
    policy = trainer.policy
    names = {seat: policy.weights_of(role) for seat, role in _ROLES.items()}
    source, judge = resolve_seeds("builtin"), resolve_judge("lexical")
    with tempfile.TemporaryDirectory() as folder:
        for number, name in itertools.product(range(spec["versions"]), names.values()):
            policy.write_weights(name, Path(folder) / f"{name}@{number}")
        while turns.begin():
            trainer.step(spec["games"])
            for number in range(spec["versions"]):
                agents = {
                    seat: policy.past_agent(
                        _ROLES[seat],
                        Path(folder) / f"{name}@{number}",
                        weights=name,
                        version=number,
                    )
                    for seat, name in names.items()
                }
                setups = schedule(source, 1, path=("past", number), rewrite_fraction=1.0)
                play(setups, agents, judge, game=trainer.game)
            turns.end()


_ROLES = {ATTACKER: "attacker", DEFENDER: "defender"}


def run_once(spec: Mapping[str, Any], turns: Turns) -> None:
    """Train a short run in the controlled world, by itself or as a benchmark does.

    Either way it has a process of its own, whose start counts.
    """
    while turns.begin():
        with tempfile.TemporaryDirectory() as folder:
            config = BenchConfig(
                algorithms="reinforce_pp",
                arrangements="bipolicy",
                seeds=1,
                games=spec["games"],
                group_size=1,
                budget=_STEPS * spec["games"],
                response_budget=0,
                panel_attackers="base",  # the panel's own runs are none of what is compared
                panel_defenders="base",
                settings="device=cpu",
                out=folder,
            )
            if spec["bench"]:
                in_bench(config)
            else:
                [cell] = able(config)
                by_itself(config.options(cell, 0, Path(folder) / "run"))
        turns.end()


def by_itself(config: TrainConfig) -> None:
    """Train a run in a process that does nothing else, on one thread as in a benchmark.

    Raises:
        RedteamError: If it fails.
    """
    command = [sys.executable, "-c", _BARE, json.dumps(config.flat())]
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one)  # noqa: S603 - our own  # nosec B603 # this interpreter and a script of ours
    if done.returncode:
        raise RedteamError(f"Training by itself failed: {done.stderr[-500:]}")


def in_bench(config: BenchConfig) -> None:
    """Train the runs of a benchmark as it does, and nothing else of it."""
    root = Path(config.out)
    runs = [task for task in tasks(config, able(config)) if task.kind == TRAIN]
    run_tasks(root, runs, Processes(config.workers), partial(do, config, root), lambda *_: None)
