"""What leagues and the benchmark cost on top of training: part ``leagues``."""

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from algorithms.bench.work import train_recorded
from algorithms.config import TrainConfig
from algorithms.quickstart import SETTINGS
from algorithms.speed.arrangements import Trainer
from algorithms.speed.comparison import peak, ratio, seconds
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.worker import Turns, take_turns
from algorithms.trainer import train
from redteam_env.game import ATTACKER, DEFENDER, Game
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Progress
from redteam_env.rollout import play, schedule
from redteam_env.seeds.resolve import resolve_seeds

PART = "leagues"
_STEPS = 5
"""Steps of the run whose training is compared with that of a benchmark."""


def measure(options: SpeedConfig, progress: Progress) -> list[Measured]:
    """Measure the memory of a league with many past versions, and what ``bench`` adds to training.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.
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
    found = take_turns(sides, warm=1, laps=1, report=report)
    run = {"threads": options.threads, "games": options.games}
    sides = {
        "training": (run_once, {**run, "recorded": False}),
        "benchmark": (run_once, {**run, "recorded": True}),
    }
    timed = take_turns(sides, warm=1, laps=options.repeats, report=report)
    most = {name: peak(laps) for name, laps in found.items()}
    name = f"league of {options.versions} past versions a seat"
    return [
        Measured(what="self-play: peak", value=most["self-play"], unit="GB", part=PART),
        Measured(what=f"{name}: peak", value=most["league"], unit="GB", part=PART),
        ratio(f"peak memory, {name} / self-play", most["league"], most["self-play"], 1.2, PART),
        ratio(
            "time, training in bench / training",
            seconds(timed["benchmark"], options.threads),
            seconds(timed["training"], options.threads),
            1.03,
            PART,
        ),
    ]


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
    """Train a short run in the controlled world, as ``train`` does or as ``bench`` does."""
    torch.set_num_threads(spec["threads"])
    while turns.begin():
        with tempfile.TemporaryDirectory() as folder:
            own = {"steps": _STEPS, "games": spec["games"], "device": "cpu", "json": True}
            out = str(Path(folder) / "run")
            config = TrainConfig.from_flat({**SETTINGS, **own, "out": out})
            if spec["recorded"]:
                train_recorded(config, Path(folder) / "record.json")
            else:
                train(config)
        turns.end()
