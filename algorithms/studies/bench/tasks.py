"""The work of a benchmark, cut into tasks that each leave one file: what exists is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.studies.bench.config import UNTRAINED, BenchConfig, Cell, cells
from redteam_env import registry
from redteam_env.evaluation.mixture import PREFIX
from redteam_env.protocols import BASE

TRAIN, MEASURE, RATE, ATTACK, RESPOND = "train", "measure", "rate", "attack", "respond"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTask:
    """One piece of work.

    Attributes:
        kind: What is done.
        cell: The cell's name; empty for all cells of a seed.
        seed: The training seed.
        output: The file it leaves, relative to the benchmark's directory.
        needs: Outputs of other tasks that must exist before.
    """

    kind: str
    cell: str
    seed: int
    output: str
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a person is shown."""
        return f"{self.kind} {self.cell or 'all'} seed {self.seed}"


def run_directory(root: Path, cell: str, seed: int) -> Path:
    """Return a run's directory."""
    return root / "runs" / cell / f"seed-{seed}"


def response_directory(root: Path, cell: str, seed: int) -> Path:
    """Return the directory of the fresh attacker against a run's defender."""
    return root / "responses" / cell / f"seed-{seed}"


def record(kind: str, cell: str, seed: int) -> str:
    """Return the place of a task's output, relative to the benchmark's directory."""
    suffix = "json" if kind in {TRAIN, ATTACK} else "parquet"
    return f"records/{kind}/{cell}-{seed}.{suffix}" if cell else f"records/{kind}/{seed}.{suffix}"


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


def tasks(config: BenchConfig, runnable: Sequence[Cell]) -> list[BenchTask]:
    """Return everything a benchmark needs, all cells of a seed before the next seed.

    Args:
        config: The options.
        runnable: The cells that can be run.
    """
    found: list[BenchTask] = []
    for seed in range(config.seeds):
        for cell in fielded(runnable):
            trained: tuple[str, ...] = ()
            if cell.trained:
                trained = (record(TRAIN, cell.name, seed),)
                found.append(_task(TRAIN, cell.name, seed))
            if seed in measured(cell, config.seeds):
                found.append(_task(MEASURE, cell.name, seed, *trained))
            if config.response_budget and plays(config, cell, "defender"):
                found.append(_task(ATTACK, cell.name, seed, *trained))
                attack = record(ATTACK, cell.name, seed)
                found.append(_task(RESPOND, cell.name, seed, *trained, attack))
        every = [record(TRAIN, cell.name, seed) for cell in runnable]
        found.append(_task(RATE, "", seed, *every))
    return found


def alone(task: BenchTask) -> bool:
    """Whether a task needs a process of its own: a run whose peak of memory is reported."""
    return task.kind == TRAIN


def _task(kind: str, cell: str, seed: int, *needs: str) -> BenchTask:
    return BenchTask(kind=kind, cell=cell, seed=seed, output=record(kind, cell, seed), needs=needs)
