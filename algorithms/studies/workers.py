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
from typing import Any, Protocol, Self

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
        work: Does one piece in another process and returns :data:`DONE` or, after Ctrl-C,
            :data:`INTERRUPTED`. A function of a module, or a ``functools.partial`` of one.
        alone: Whether a piece gets a process that did nothing before and does nothing after it, so
            that the memory which that process held at most is the piece's. The other pieces share
            processes, which start once.
    """

    def __init__(
        self,
        root: Path,
        count: int,
        work: Callable[[Any], str],
        *,
        alone: Callable[[Any], bool] = lambda _: False,
    ) -> None:
        self._root = root
        self._count = count
        self._work = work
        self._alone = alone

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
        running: dict[Future[str], Piece] = {}
        failure: BaseException | None = None
        told = False
        with _Pools(min(self._count, len(waiting))) as pools, _ctrl_c(pools) as pressed:
            while True:
                if failure is None and not pressed:
                    try:
                        self._submit(pools, waiting, running)
                    except BrokenProcessPool as broken:
                        failure = broken
                if not running:
                    break
                ended, _ = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                if pressed and not told:
                    pools.signal(signal.SIGINT)
                    report("stopping after the current steps", done, total)
                    told = True
                for future in ended:
                    task = running.pop(future)
                    pools.close(future)
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
        self, pools: "_Pools", waiting: list[Piece], running: dict[Future[str], Piece]
    ) -> None:
        for task in list(waiting):
            if len(running) >= self._count:
                return
            if all(self._done(name) for name in task.needs):
                waiting.remove(task)
                running[pools.submit(self._work, task, alone=self._alone(task))] = task

    def _done(self, output: str) -> bool:
        return (self._root / output).is_file()


class _Pools:
    """Processes that pieces share, and one for each piece that wants its own.

    Args:
        count: Most processes that are shared.
    """

    def __init__(self, count: int) -> None:
        self._shared = _pool(count)
        self._own: dict[Future[str], ProcessPoolExecutor] = {}

    def __enter__(self) -> Self:
        self._shared.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for future in list(self._own):
            self.close(future)
        self._shared.__exit__(*error)  # type: ignore[arg-type]

    def submit(self, work: Callable[[Any], str], piece: Piece, *, alone: bool) -> Future[str]:
        """Let a piece be done."""
        pool = _pool(1) if alone else self._shared
        with _held_back():
            future = pool.submit(_do, work, piece)
        if alone:
            self._own[future] = pool
        return future

    def close(self, future: Future[str]) -> None:
        """End the process that a piece had for itself."""
        if pool := self._own.pop(future, None):
            pool.shutdown()

    def signal(self, number: int) -> None:
        """Send a signal to every process."""
        for pool in (self._shared, *self._own.values()):
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)


def _pool(count: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_prepare)


@contextmanager
def _ctrl_c(pools: _Pools) -> Iterator[list[int]]:
    """Note the first Ctrl-C; a second one kills the workers and raises as usual.

    The first is handed on by the loop: here a worker may be just being started, and would miss it.
    """
    pressed: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            pools.signal(signal.SIGKILL)
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


_stopped = threading.Event()
"""In a worker: that Ctrl-C was pressed while it did nothing."""


def _prepare() -> None:
    """Set a worker process up: its own group, so that Ctrl-C reaches it through its parent only."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch, which the work imports, reads it then
    os.setpgid(0, 0)
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
