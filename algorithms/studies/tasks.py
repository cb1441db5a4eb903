"""The work of a study, cut into tasks that each leave one file: what exists is done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

TRAIN, MEASURE, CROSS, RATE, ATTACK, RESPOND, GRADIENTS = (
    "train",
    "measure",
    "cross",
    "rate",
    "attack",
    "respond",
    "gradients",
)
JSON_KINDS = (TRAIN, ATTACK, GRADIENTS)
"""Tasks that leave a JSON record; the others leave a table of games."""
DONE, INTERRUPTED = "done", "interrupted"
"""How a task ends: its file is there, or Ctrl-C stopped it and the same command goes on."""
RECORDS = "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work.

    Attributes:
        kind: What is done, one of the kinds above.
        part: The part of the study that it belongs to; empty if a study has no parts.
        arm: The arm, or the benchmark's cell; empty for all arms of a seed.
        seed: The training seed; -1 for the untrained base.
        needs: Outputs of other tasks that must exist before.
    """

    kind: str
    part: str = ""
    arm: str = ""
    seed: int
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a person is shown."""
        part = f"{self.part}: " if self.part else ""
        seed = f" seed {self.seed}" if self.seed >= 0 else ""
        return f"{part}{self.kind} {self.arm or 'all arms'}{seed}"

    @property
    def name(self) -> str:
        """What its file is called, and its record in a report."""
        return f"{self.arm}-{self.seed}" if self.arm else f"seed-{self.seed}"

    @property
    def output(self) -> str:
        """The file it leaves, relative to the study's directory."""
        suffix = "json" if self.kind in JSON_KINDS else "parquet"
        return (Path(RECORDS) / self.part / self.kind / f"{self.name}.{suffix}").as_posix()

    def after(self, *others: "Task") -> "Task":
        """Return the task with further ones that must be done before."""
        return replace(self, needs=(*self.needs, *(x.output for x in others)))


Work = Callable[[Task], str]
"""Does a task in another process; returns :data:`DONE` or :data:`INTERRUPTED`. It is pickled."""


def run_directory(root: Path, arm: str, seed: int, *, part: str = "") -> Path:
    """Return where the run of an arm goes.

    Args:
        root: The study's directory.
        arm: The arm.
        seed: The training seed.
        part: The part of the study.
    """
    return root / "runs" / part / arm / f"seed-{seed}"


def outputs(root: Path, every: Iterable[Task], *kinds: str) -> list[Path]:
    """Return the files of some kinds of tasks that exist, in the order of the tasks."""
    files = [root / task.output for task in every if task.kind in kinds]
    return [file for file in files if file.is_file()]
