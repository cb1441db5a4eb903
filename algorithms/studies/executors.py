"""Where tasks run: processes on this machine, jobs of submitit, or tasks of Ray.

All three are handed the same function. A task has a process to itself, so that the memory which the
process held at most is the task's, and nothing that one task leaves reaches the next.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from algorithms.studies.tasks import INTERRUPTED, Task, Work
from redteam_env.game import RedteamError
from redteam_env.utils.lists import assigned

ExecutorName = Literal["processes", "submitit", "ray"]
_PRELOADED = "algorithms.studies.preloaded"


class DiedError(Exception):
    """The process of a task ended before the task did."""


class Job(Protocol):
    """A task that was handed to an executor."""

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        ...

    def result(self) -> str:
        """Return what the work returned, and free what the job held.

        Raises:
            DiedError: If its process ended by itself.
            Exception: What the work raised.
        """
        ...


class Executor(Protocol):
    """Where tasks run; a context manager that ends whatever is left."""

    @property
    def count(self) -> int:
        """Most jobs side by side."""
        ...

    def submit(self, work: Work, task: Task) -> Job:
        """Start a task."""
        ...

    def stop(self) -> None:
        """Press Ctrl-C in every job: a run that is being trained ends after its step."""
        ...

    def kill(self) -> None:
        """End every job at once."""
        ...

    def __enter__(self) -> Self:
        """Get ready."""
        ...

    def __exit__(self, *error: object) -> None:
        """End whatever is left."""
        ...


def make_executor(name: ExecutorName, count: int, job: str, folder: Path) -> Executor:
    """Return an executor by its name.

    Args:
        name: Which.
        count: Most tasks side by side.
        job: What a job is asked for, NAME=VALUE with a comma between them: parameters of submitit's
            ``AutoExecutor`` (``slurm_partition=gpu,timeout_min=600``; ``cluster=local`` for processes
            here), or options of a Ray task (``num_gpus=1``).
        folder: Where submitit keeps its files; every machine must see it.

    Raises:
        RedteamError: If its package is missing, or an option is wrong.
    """
    options = assigned(job, option="job", example="num_gpus=1")
    if name == "processes":
        if options:
            raise RedteamError(
                f"job is {job!r}, but processes on this machine take no options; leave it out, or "
                "give --executor submitit or ray."
            )
        return Processes(count)
    # only who asks for one needs its package
    from algorithms.studies.cluster import Ray, Submitit  # noqa: PLC0415 - the same

    return Submitit(count, options, folder) if name == "submitit" else Ray(count, options)


class Processes:
    """Processes on this machine, one thread each.

    They are forked from a server that has imported everything already, which is not paid again for
    each task.

    Args:
        count: Most side by side.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: list[_Process] = []
        self._context = multiprocessing.get_context("forkserver")

    def __enter__(self) -> Self:
        """Ask for the imports; they are done when the first task starts."""
        self._context.set_forkserver_preload([_PRELOADED])
        return self

    def __exit__(self, *error: object) -> None:
        """End every process once its task has ended."""
        for job in self._jobs:
            job.close()

    def submit(self, work: Work, task: Task) -> Job:
        """Start a task in a new process."""
        pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_prepare)
        with _held_back():
            job = _Process(pool, pool.submit(_do, work, task))
        self._jobs = [x for x in self._jobs if not x.closed] + [job]
        return job

    def stop(self) -> None:
        """Press Ctrl-C in every process."""
        for job in self._jobs:
            job.signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill every process."""
        for job in self._jobs:
            job.signal(signal.SIGKILL)


class _Process:
    def __init__(self, pool: ProcessPoolExecutor, future: Future[str]) -> None:
        self._pool = pool
        self._future = future
        self.closed = False

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> str:
        try:
            return self._future.result()
        except BrokenProcessPool as error:
            raise DiedError("it left no result") from error
        finally:
            self.close()

    def close(self) -> None:
        self._pool.shutdown()
        self.closed = True

    def signal(self, number: int) -> None:
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold Ctrl-C back while a process is started; it inherits that until it is ready for one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_stopped = threading.Event()
"""In a task's process: that Ctrl-C was pressed before the task began."""


def _prepare() -> None:
    """Set a process up: Ctrl-C reaches it through its parent only, and so does what SIGTERM asks for.

    A scheduler sends SIGTERM to every process of a job. Here it would end a run in the middle of a step
    that the parent is letting finish.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _stop(*_: Any) -> None:
    _stopped.set()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _do(work: Work, task: Task) -> str:
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch where the server had not imported it
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _stopped.is_set():
            return INTERRUPTED
        return work(task)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, _stop)
