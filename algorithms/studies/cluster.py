"""Tasks as jobs of submitit (Slurm, or processes here) and as tasks of Ray: the extras cluster and ray.

The study's directory, and any plug-in, must be the same on every machine.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from algorithms.studies.executors import DiedError, Job
from algorithms.studies.tasks import Task, Work
from redteam_env.game import RedteamError

_TIMEOUT_MIN = 24 * 60
"""How long a job of submitit may take if nothing is said; a run that did not end goes on next time."""

_TIMED_OUT = "Job not requeued because: timed-out"
"""What submitit raises in a job whose time is over; it arrives as the text of an error of the work."""


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise RedteamError(
            f"--executor {name} needs {name} ({error}); install it with: "
            f"pip install 'redteam-env[{extra}]'"
        ) from error


class Submitit:
    """Jobs of Slurm where there is one, else processes that submitit starts here.

    A job that Slurm ends early and starts again goes on from the run's last checkpoint.

    Args:
        count: Most jobs side by side.
        options: Parameters of ``submitit.AutoExecutor``, and ``cluster`` to name one.
        folder: Where submitit keeps its files; every machine must see it.

    Raises:
        RedteamError: If submitit is missing or does not know an option.
    """

    def __init__(self, count: int, options: Mapping[str, Any], folder: Path) -> None:
        self.count = count
        self._submitit = _package("submitit", "cluster")
        self._jobs: list[Any] = []
        given = {"name": "redteam-env", "timeout_min": _TIMEOUT_MIN, **options}
        cluster = given.pop("cluster", None)
        try:
            self._executor = self._submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**given)
        except (AssertionError, NameError, RuntimeError, ValueError) as error:
            raise RedteamError(f"job is wrong for submitit: {error}") from error

    def __enter__(self) -> Self:
        """Do nothing: each job brings its process."""
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel what is left."""
        self.stop()

    def submit(self, work: Work, task: Task) -> Job:
        """Hand a task over as a job."""
        job = self._executor.submit(_attempt, work, task)
        self._jobs.append(job)
        return _SubmititJob(job, self._submitit.core.utils)

    def stop(self) -> None:
        """Cancel every job that has not ended; runs go on from their last checkpoints."""
        for job in self._jobs:
            if not job.done():
                job.cancel(check=False)

    kill = stop


class _SubmititJob:
    def __init__(self, job: Any, errors: Any) -> None:
        self._job = job
        self._errors = errors

    def done(self) -> bool:
        return bool(self._job.done())

    def result(self) -> str:
        try:
            found = self._job.result()
        except self._errors.FailedJobError as error:
            if _TIMED_OUT not in str(error):
                raise  # a fault of the program, with its traceback
            raise DiedError(
                f"job {self._job.job_id} timed out; raise timeout_min in --job"
            ) from error
        except self._errors.UncompletedJobError as error:
            raise DiedError(f"job {self._job.job_id}; see {self._job.paths.stderr}") from error
        if isinstance(found, RedteamError):
            raise found
        return str(found)


def _attempt(work: Work, task: Task) -> str | RedteamError:
    """Do a task; an error of ours is returned, since submitit hands others on as text."""
    try:
        return work(task)
    except RedteamError as error:
        return error


class Ray:
    """Tasks on the Ray cluster that this process is connected to, or can find, or else starts here.

    Args:
        count: Most tasks side by side.
        options: Options of ``ray.remote``, such as ``num_cpus`` and ``num_gpus``.

    Raises:
        RedteamError: If ray is missing or does not know an option.
    """

    def __init__(self, count: int, options: Mapping[str, Any]) -> None:
        self.count = count
        self._ray = _package("ray", "ray")
        self._jobs: list[Any] = []
        # a worker does one task, so that memory and devices are free after it
        given = {"max_calls": 1, "max_retries": 0, **options}
        try:
            self._do = self._ray.remote(**given)(_call)
        except (TypeError, ValueError) as error:
            raise RedteamError(f"job is wrong for ray: {error}") from error
        self._ours = False

    def __enter__(self) -> Self:
        """Connect; a cluster that this starts reports nothing to Ray's makers unless it is asked to."""
        if not self._ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._ray.init(log_to_driver=False, include_dashboard=False)
            self._ours = True
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel what is left, and disconnect if this connected."""
        self.kill()
        if self._ours:
            self._ray.shutdown()

    def submit(self, work: Work, task: Task) -> Job:
        """Hand a task over."""
        reference = self._do.remote(work, task)
        self._jobs.append(reference)
        return _RayJob(reference.future(), self._ray.exceptions)

    def stop(self) -> None:
        """Press Ctrl-C in every task: a run that is being trained ends after its step."""
        self._cancel(force=False)

    def kill(self) -> None:
        """End every task at once."""
        self._cancel(force=True)

    def _cancel(self, *, force: bool) -> None:
        for reference in self._jobs:
            with suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(reference, force=force)


class _RayJob:
    def __init__(self, future: Future[str], errors: Any) -> None:
        self._future = future
        self._errors = errors

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> str:
        try:
            return self._future.result()
        except self._errors.TaskCancelledError as error:
            raise KeyboardInterrupt from error
        except self._errors.RayTaskError as error:
            raise error.cause from error
        except self._errors.RayError as error:
            raise DiedError(str(error).splitlines()[0]) from error


def _call(work: Work, task: Task) -> str:
    return work(task)
