"""TensorBoard: the numbers of a run as event files in its directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redteam_env.protocols import LoggedRun, LogTable


class TensorBoard:
    """Writes event files into the folder ``tensorboard`` of the run directory.

    Of steps that are taken again TensorBoard shows the later ones.
    """

    def start(self, run: LoggedRun) -> None:
        """Open an event file."""
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - takes seconds to import

        self._board: Any = SummaryWriter(str(run.directory / "tensorboard"), purge_step=run.step)

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],  # noqa: ARG002 - they lie beside the event files
    ) -> None:
        """Write numbers as scalars, and tables as text that is shown as it stands."""
        for name, value in {"step": step, **scalars}.items():
            if value is not None:
                self._board.add_scalar(name, value, step)
        for name, table in tables.items():
            rows = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
            # lines that are indented so are code, which Markdown does not read
            self._board.add_text(name, "\n".join(f"    {json.dumps(row)}" for row in rows), step)

    def finish(self, outcome: object) -> None:  # noqa: ARG002 - an event file does not tell it
        """Write what is left."""
        self._board.close()
