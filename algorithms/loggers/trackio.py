"""Trackio, a tracker of experiments on this machine, or on a Space of the Hugging Face hub.

``--logger trackio`` writes into trackio's own folder (``TRACKIO_DIR``), which ``trackio show`` opens. Options:
``?project=NAME``; ``&space_id=OWNER/NAME`` for a Space, which is made private.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.loggers import library
from redteam_env.protocols import LoggedRun, LogTable


class Trackio:
    """Logs to trackio; a resumed run goes on with the run that it began.

    Args:
        project: The project.
        space_id: A Space; by default this machine.
    """

    def __init__(self, project: str = "redteam-env", space_id: str | None = None) -> None:
        self._trackio = library("trackio")
        self._where = {"project": project, "space_id": space_id}

    def start(self, run: LoggedRun) -> Mapping[str, Any]:
        """Begin a run, or go on with one."""
        name = run.state.get("name") or f"{run.name}-{uuid.uuid4().hex[:6]}"
        self._run = self._trackio.init(
            **self._where,
            name=name,
            config=dict(run.config),
            resume="allow",
            private=True,
            embed=False,
        )
        return {"name": name}

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],  # noqa: ARG002 - trackio keeps files of projects, not of runs
    ) -> None:
        """Log a step."""
        row: dict[str, Any] = {name: x for name, x in scalars.items() if x is not None}
        for name, table in tables.items():
            rows = [list(x) for x in table.rows]
            row[name] = self._trackio.Table(columns=list(table.columns), data=rows)
        self._run.log(row, step=step)

    def finish(self, outcome: object) -> None:  # noqa: ARG002 - trackio does not keep it
        """Send what is left."""
        self._run.finish()
