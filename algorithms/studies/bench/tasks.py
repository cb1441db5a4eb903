"""The tasks of a benchmark, its manifest, and who is measured in which role."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithms.studies.bench.cells import cells
from algorithms.studies.bench.config import (
    PANEL,
    PANEL_RUNS,
    PANEL_SEED,
    UNTRAINED,
    BenchConfig,
    Cell,
)
from algorithms.studies.manifest import fingerprints, sealed
from algorithms.studies.tasks import ATTACK, MEASURE, RATE, RESPOND, TRAIN, Task
from redteam_env import registry
from redteam_env.evaluation.mixture import PREFIX
from redteam_env.protocols import BASE
from redteam_env.utils.lists import listed

MANIFEST = "bench.json"
SCHEMA = 4
PLACES = ("executor", "job", "workers", "out", "to", "json")
"""Options that decide no result."""


def manifest_of(config: BenchConfig) -> dict[str, Any]:
    """Return everything that decides a benchmark's results, with a digest of it.

    Raises:
        RedteamError: If nothing can be run, or a file cannot be read.
    """
    options = dataclasses.asdict(config)
    for name in PLACES:
        del options[name]
    every = cells(config)
    unused = Path("unused")
    runs = [config.options(cell, 0, unused) for cell in every if cell.reason is None]
    runs += [config.panel(name, unused) for name in config.panel_runs]
    if config.response_budget:
        runs.append(config.response(None, 0, unused))
    members = (*listed(config.panel_attackers), *listed(config.panel_defenders))
    return sealed(
        {
            "schema": SCHEMA,
            "options": options,
            "cells": [dataclasses.asdict(cell) for cell in every],
            **fingerprints(
                runs,
                [config.settings_by_name()],
                suites=config.every_suite,
                agents=[name for name in members if name not in PANEL_RUNS],
            ),
        }
    )


def response_directory(root: Path, cell: str, seed: int) -> Path:
    """Return the directory of the fresh attacker against a run's defender."""
    return root / "responses" / cell / f"seed-{seed}"


def plays(config: BenchConfig, cell: Cell, role: str) -> bool:
    """Whether a cell is measured in a role: it trains it, or is the base, which plays both."""
    return not cell.trained or config.weights(cell.arrangement).get(role) != BASE


def spec_of(cell: Cell, run: Path) -> str:
    """Return what plays for a run: its last weights, or the mixture that its league ended with."""
    if not cell.trained:
        return BASE
    mixture = getattr(registry.load("opponents", cell.opponents), "mixture", False)
    return f"{PREFIX}{run}" if mixture else str(run)


def able(config: BenchConfig) -> list[Cell]:
    """Return the cells that can be run."""
    return [cell for cell in cells(config) if cell.reason is None]


def fielded(every: Sequence[Cell]) -> list[Cell]:
    """Return the cells that are measured: the untrained base and those that can be run."""
    return [UNTRAINED, *(cell for cell in every if cell.reason is None)]


def measured(cell: Cell, seeds: int) -> range:
    """Return the seeds whose runs meet suites and panels.

    Everybody plays the same games there, and answers the same when asked again, so the untrained base
    meets them once.
    """
    return range(seeds if cell.trained else 1)


def tasks(config: BenchConfig, runnable: Sequence[Cell]) -> list[Task]:
    """Return everything a benchmark needs: its panel, then all cells of a seed before the next seed.

    Args:
        config: The options.
        runnable: The cells that can be run.
    """
    found = [Task(kind=TRAIN, part=PANEL, arm=name, seed=PANEL_SEED) for name in config.panel_runs]
    panel = list(found)
    found += [
        Task(kind=MEASURE, part=PANEL, arm=f"defender_{k}", seed=PANEL_SEED).after(*panel)
        for k, name in enumerate(listed(config.panel_defenders))
        if name != BASE
    ]
    for seed in range(config.seeds):
        runs = []
        for cell in fielded(runnable):
            run = Task(kind=TRAIN, arm=cell.name, seed=seed)
            needs = [run] if cell.trained else []
            runs += needs
            found += needs
            if seed in measured(cell, config.seeds):
                found.append(Task(kind=MEASURE, arm=cell.name, seed=seed).after(*needs, *panel))
            if config.response_budget and plays(config, cell, "defender"):
                attack = Task(kind=ATTACK, arm=cell.name, seed=seed).after(*needs)
                found += [attack, Task(kind=RESPOND, arm=cell.name, seed=seed).after(attack)]
        found.append(Task(kind=RATE, seed=seed).after(*runs))
    return found


def do(config: BenchConfig, root: Path, task: Task) -> str:
    """Do a task; torch, which the work needs, is imported in the process of the task."""
    from algorithms.studies.bench import work  # noqa: PLC0415 - the same

    return work.do(config, root, task)
