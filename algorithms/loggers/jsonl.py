"""The run's own record: one JSON object a step in ``metrics.jsonl``, which a resumed run reads.

Tables and files are not written again: whatever they are made from lies in the run directory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from redteam_env.protocols import LoggedRun, LogTable
from redteam_env.runs import Run


class JsonLines:
    """Appends a row to ``metrics.jsonl`` each step; rows of steps that are taken again are dropped first."""

    def start(self, run: LoggedRun) -> None:
        """Open the run."""
        self._files = Run(run.directory)
        rows = self._files.rows()
        self._files.write_rows([row for row in rows if row["step"] < run.step])

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],  # noqa: ARG002 - their games are in the run directory
        files: Sequence[Path],  # noqa: ARG002 - they are, too
    ) -> None:
        """Append a row."""
        self._files.add_row({"step": step, **scalars})

    def finish(self, outcome: object) -> None:
        """Do nothing: every row is written when it is logged."""
