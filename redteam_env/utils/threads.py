"""Work that other threads do: in order, aside, while the caller goes on, or all of it at once.

Python cannot stop a thread from outside, so work that waits for long (requests to a server) looks
at :func:`stop_event` to see whether anybody still wants its result.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")

_STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


def stop_event() -> threading.Event:
    """Return the event that is set once nobody wants the result of the running work.

    Outside of :class:`Background` and :func:`together` it is a new one, for the caller to set.
    """
    return _STOP.get() or threading.Event()


def together(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do several pieces of work at once: the first in this thread, each other one in its own.

    Once one fails, or Ctrl-C comes, the :func:`stop_event` that all of them see is set. The threads are
    then waited for as those of :class:`Background` are.

    Args:
        works: What is to be done.

    Returns:
        The results, in order.

    Raises:
        Exception: The first error, in order, that is no consequence of another one.
    """
    if len(works) < 2:
        return [work() for work in works]
    stop = stop_event()

    def done(work: Callable[[], T]) -> T:
        _STOP.set(stop)
        try:
            return work()
        except BaseException:
            stop.set()
            raise

    first: Future[T] = Future()
    pool = ThreadPoolExecutor(len(works) - 1, "together")
    try:
        others = [pool.submit(copy_context().run, done, work) for work in works[1:]]
        try:
            first.set_result(copy_context().run(done, works[0]))
        except Exception as error:  # noqa: BLE001 - it is raised below
            first.set_exception(error)
        every = [first, *others]
        failed = [x.exception() for x in every]
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    errors = [x for x in failed if x is not None]
    if errors:
        raise min(errors, key=lambda x: isinstance(x, CancelledError))
    return [x.result() for x in every]


class Background(Generic[T]):
    """Does one piece of work after the other in a thread of its own; a context manager.

    Leaving it by an error drops the work that has not begun and sets the running work's
    :func:`stop_event`. The thread is waited for, except after Ctrl-C: then it ends by itself, as
    soon as the work under way does.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._futures: list[Future[T]] = []
        self._pool = ThreadPoolExecutor(1, name, initializer=_STOP.set, initargs=(self._stop,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop.set()
        wait = kind is None or issubclass(kind, Exception)
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def submit(self, work: Callable[..., T], *arguments: Any) -> None:
        """Do some work after all that was submitted before; after a failure none is done."""
        self._futures.append(self._pool.submit(self._run, work, arguments))

    def check(self) -> None:
        """Raise the error of work that has failed, if any has by now."""
        for future in self._futures:
            if not future.done():
                return
            future.result()

    def results(self) -> list[T]:
        """Wait for everything and return the results, in order of submission.

        Raises:
            Exception: The first error of the work.
        """
        return [future.result() for future in self._futures]

    def _run(self, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        if self._stop.is_set():
            raise CancelledError
        try:
            return work(*arguments)
        except BaseException:
            self._stop.set()
            raise
