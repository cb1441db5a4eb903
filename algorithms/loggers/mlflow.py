"""MLflow.

``--logger mlflow`` logs to the server, or the store, that ``MLFLOW_TRACKING_URI`` names, or ``?uri=...``. Options:
``?experiment=NAME&uri=ADDRESS``. User name and password are MLflow's own matter
(``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_PASSWORD``).
"""

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.loggers import library
from redteam_env.game import RedteamError
from redteam_env.protocols import LoggedRun, LogTable

_LONGEST = 500
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""How long a server that is down may hold up a run, unless the user has said otherwise; MLflow's own is minutes."""


class MLflow:
    """Logs to MLflow; a resumed run goes on with the run that it began.

    Args:
        experiment: The experiment.
        uri: The address of a server, or a store; by default MLflow's own default.
    """

    def __init__(self, experiment: str = "redteam-env", uri: str | None = None) -> None:
        if uri is not None and "@" in uri.partition("://")[2].partition("/")[0]:
            raise RedteamError(
                "The uri of the logger 'mlflow' has a user name in it, which would be stored with the run; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
        for name, value in _IMPATIENT.items():
            os.environ.setdefault(name, value)
        self._mlflow = library("mlflow")
        self._experiment, self._uri = experiment, uri

    def start(self, run: LoggedRun) -> Mapping[str, Any]:
        """Begin a run, or go on with one."""
        self._client = self._mlflow.MlflowClient(tracking_uri=self._uri)
        self._id = run.state.get("run_id")
        if self._id is not None:
            self._client.set_terminated(self._id, status="RUNNING")
            return {"run_id": self._id}
        found = self._client.get_experiment_by_name(self._experiment)
        place = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._id = self._client.create_run(place, run_name=run.name).info.run_id
        entities = self._mlflow.entities
        params = [entities.Param(k, str(x)[:_LONGEST]) for k, x in run.config.items()]
        for k in range(0, len(params), 100):  # the most that one request may hold
            self._client.log_batch(self._id, params=params[k : k + 100])
        return {"run_id": self._id}

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],
    ) -> None:
        """Log a step; tables become artifacts of JSON lines."""
        now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
        metrics = [
            metric(re.sub(r"[^\w\-./ ]", "_", name), float(x), now, step)
            for name, x in scalars.items()
            if x is not None
        ]
        self._client.log_batch(self._id, metrics=metrics)
        for name, table in tables.items():
            rows = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
            text = "".join(f"{json.dumps(row)}\n" for row in rows)
            self._client.log_text(self._id, text, f"{name}/step-{step:06d}.jsonl")
        for file in files:
            self._client.log_artifact(self._id, str(file))

    def finish(self, outcome: object) -> None:
        """Close the run."""
        self._client.set_terminated(self._id, status="FAILED" if outcome is None else "FINISHED")
