"""Weights & Biases.

``--logger wandb`` logs to the server that ``wandb login`` knows; ``?mode=offline`` into the run directory only,
for ``wandb sync`` later. Options: ``?project=NAME&entity=TEAM&mode=online|offline``. The key is wandb's own
matter (``WANDB_API_KEY``). Neither what is printed, which may hold texts of players, nor code is sent.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.loggers import library
from redteam_env.protocols import LoggedRun, LogTable


class WandB:
    """Logs to Weights & Biases; a resumed run goes on with the run that it began.

    Args:
        project: The project.
        entity: The user or team that it belongs to; by default wandb's own default.
        mode: ``online`` or ``offline``; by default what ``WANDB_MODE`` says.
    """

    def __init__(
        self, project: str = "redteam-env", entity: str | None = None, mode: str | None = None
    ) -> None:
        self._wandb = library("wandb")
        self._where: dict[str, Any] = {"project": project, "entity": entity, "mode": mode}

    def start(self, run: LoggedRun) -> Mapping[str, Any]:
        """Begin a run, or go on with one."""
        own = run.state.get("id") or uuid.uuid4().hex[:8]
        self._run = self._wandb.init(
            **self._where,
            id=own,
            name=run.name,
            dir=str(run.directory),
            config=dict(run.config),
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(
                console="off", disable_code=True, disable_git=True, silent=True
            ),
        )
        return {"id": own}

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],
    ) -> None:
        """Log a step."""
        row: dict[str, Any] = {name: x for name, x in scalars.items() if x is not None}
        for name, table in tables.items():
            rows = [list(x) for x in table.rows]
            row[name] = self._wandb.Table(columns=list(table.columns), data=rows)
        self._run.log(row, step=step)
        for file in files:
            self._run.save(str(file), base_path=str(file.parent), policy="now")

    def finish(self, outcome: object) -> None:
        """Send what is left."""
        self._run.finish(exit_code=1 if outcome is None else 0)
