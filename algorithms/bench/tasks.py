"""The work of a benchmark, cut into tasks that each leave one file: what exists is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.bench.config import BenchConfig, Cell, cells
from redteam_env.policies import WEIGHTS

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


def trains(cell: Cell, role: str) -> bool:
    """Whether a cell trains a role."""
    return WEIGHTS[cell.arrangement].get(role) != "base"


def able(config: BenchConfig) -> list[Cell]:
    """Return the cells that can be run."""
    return [cell for cell in cells(config) if cell.reason is None]


def tasks(config: BenchConfig, runnable: Sequence[Cell]) -> list[BenchTask]:
    """Return everything a benchmark needs, all cells of a seed before the next seed.

    Args:
        config: The options.
        runnable: The cells that can be run.
    """
    found: list[BenchTask] = []
    for seed in range(config.seeds):
        for cell in runnable:
            trained = record(TRAIN, cell.name, seed)
            found.append(BenchTask(kind=TRAIN, cell=cell.name, seed=seed, output=trained))
            found.append(_after(MEASURE, cell.name, seed, trained))
            if config.response_budget and trains(cell, "defender"):
                attack = record(ATTACK, cell.name, seed)
                found.append(_after(ATTACK, cell.name, seed, trained))
                found.append(_after(RESPOND, cell.name, seed, trained, attack))
        every = [record(TRAIN, cell.name, seed) for cell in runnable]
        found.append(_after(RATE, "", seed, *every))
    return found


def _after(kind: str, cell: str, seed: int, *needs: str) -> BenchTask:
    return BenchTask(
        kind=kind, cell=cell, seed=seed, output=record(kind, cell, seed), needs=tuple(needs)
    )
