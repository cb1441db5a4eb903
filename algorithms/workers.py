"""Work cut into tasks, done in several processes: resumable, interruptible, one thread each.

Each task leaves one file. What exists is done; a task starts once everything it needs exists.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from redteam_env.game import RedteamError

DONE, INTERRUPTED = "done", "interrupted"
_LOOK_S = 0.2
"""How often it is looked whether Ctrl-C was pressed."""
Report = Callable[[str, int, int], None]


class Piece(Protocol):
    """One piece of work."""

    @property
    def title(self) -> str:
        """What a person is shown."""
        ...

    @property
    def output(self) -> str:
        """The file it leaves, relative to the directory."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Outputs of other pieces that must exist before."""
        ...


class Workers:
    """Does pieces of work in processes, each once everything it needs exists.

    Args:
        root: Where outputs go.
        count: Processes.
        work: Does one piece in a process of its own and returns :data:`DONE` or, after Ctrl-C,
            :data:`INTERRUPTED`. A function of a module, or a ``functools.partial`` of one.
    """

    def __init__(self, root: Path, count: int, work: Callable[[Any], str]) -> None:
        self._root = root
        self._count = count
        self._work = work

    def run(self, every: Sequence[Piece], report: Report) -> bool:
        """Do what is not done yet.

        Args:
            every: All pieces, in the order in which they are to be tried.
            report: Called as ``report(what was just done, done, total)``.

        Returns:
            Whether all is done; false after Ctrl-C. Finished pieces are kept, a run that was being
            trained goes on from its last step.

        Raises:
            RedteamError: If a piece fails, after those under way have ended.
        """
        waiting = [task for task in every if not self._done(task.output)]
        total, done = len(every), len(every) - len(waiting)
        report("starting", done, total)
        if not waiting:
            return True
        context = multiprocessing.get_context("spawn")
        running: dict[Future[str], Piece] = {}
        failure: BaseException | None = None
        told = False
        with (
            ProcessPoolExecutor(
                min(self._count, len(waiting)), mp_context=context, initializer=_prepare
            ) as pool,
            _ctrl_c(pool) as pressed,
        ):
            while True:
                if failure is None and not pressed:
                    try:
                        self._submit(pool, waiting, running)
                    except BrokenProcessPool as broken:
                        failure = broken
                if not running:
                    break
                ended, _ = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                if pressed and not told:
                    _signal(pool, signal.SIGINT)
                    report("stopping after the current steps", done, total)
                    told = True
                for future in ended:
                    task = running.pop(future)
                    error = future.exception()
                    if error is None and future.result() == DONE:
                        done += 1
                        report(task.title, done, total)
                    failure = failure or error
        if pressed and isinstance(failure, BrokenProcessPool | KeyboardInterrupt | None):
            return False
        if isinstance(failure, BrokenProcessPool):
            raise RedteamError(
                "A worker process ended by itself (out of memory, perhaps); what was done is kept. "
                "Run the same command again, with fewer --workers if it happens again."
            ) from failure
        if failure is not None:
            raise failure
        if waiting:
            raise RedteamError(f"{waiting[0].title} needs files that nothing makes.")
        return True

    def _submit(
        self, pool: ProcessPoolExecutor, waiting: list[Piece], running: dict[Future[str], Piece]
    ) -> None:
        for task in list(waiting):
            if len(running) >= self._count:
                return
            if all(self._done(name) for name in task.needs):
                waiting.remove(task)
                with _held_back():
                    future = pool.submit(_do, self._work, task)
                running[future] = task

    def _done(self, output: str) -> bool:
        return (self._root / output).is_file()


@contextmanager
def _ctrl_c(pool: ProcessPoolExecutor) -> Iterator[list[int]]:
    """Note the first Ctrl-C; a second one kills the workers and raises as usual.

    The first is handed on by the loop: here a worker may be just being started, and would miss it.
    """
    pressed: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            _signal(pool, signal.SIGKILL)
            raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread: the caller's own handling stays
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold Ctrl-C back while a worker is started; it inherits that until it is ready for one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal(pool: ProcessPoolExecutor, number: int) -> None:
    processes: Sequence[Any] = list((getattr(pool, "_processes", None) or {}).values())
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


_stopped = threading.Event()
"""In a worker: that Ctrl-C was pressed while it did nothing."""


def _prepare() -> None:
    """Set a worker process up: its own group, so that Ctrl-C reaches it through its parent only."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if not _stopped.is_set():
        import torch  # noqa: PLC0415 - only workers compute

        torch.set_num_threads(1)


def _stop(*_: Any) -> None:
    _stopped.set()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _do(work: Callable[[Any], str], piece: Any) -> str:
    if _stopped.is_set():
        return INTERRUPTED
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _stopped.is_set():
            return INTERRUPTED
        return work(piece)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, _stop)
