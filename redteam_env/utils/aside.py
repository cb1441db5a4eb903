"""Running coroutines for callers that are not asynchronous, such as all agents and judges."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent import futures
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from redteam_env.utils.threads import stop_event

T = TypeVar("T")

_LOOK_S = 0.1
"""How often is looked whether anybody still wants the result."""


def run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and a thread of its own, so that callers may have a loop.

    It is given up as soon as the caller is interrupted by Ctrl-C or its work is no longer wanted
    (:func:`redteam_env.utils.threads.stop_event`). The thread is a daemon: no interpreter waits for it,
    but for a host name that is being looked up, which no thread can give up.

    Args:
        work: What is to be done.

    Returns:
        What it returns.

    Raises:
        CancelledError: If it is no longer wanted (that of :mod:`concurrent.futures`).
        Exception: What the work raises.
    """
    stop = stop_event()
    begun: futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = futures.Future()
    outcome: futures.Future[T] = futures.Future()

    async def do() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run makes one
        begun.set_result((asyncio.get_running_loop(), task))
        try:
            outcome.set_result(await work)
        except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
            outcome.set_exception(error)

    context = copy_context()  # the work, too, can look at stop_event()
    target = partial(context.run, _run, do(), outcome)
    threading.Thread(target=target, name="aside", daemon=True).start()
    try:
        while not futures.wait([outcome], _LOOK_S).done and not stop.is_set():
            pass
        if outcome.done():
            return outcome.result()
    finally:
        if not outcome.done() and begun.done():
            loop, task = begun.result()
            with suppress(RuntimeError):  # it has ended just now
                loop.call_soon_threadsafe(task.cancel)
        elif not begun.done():
            with suppress(ValueError):  # it has begun just now
                work.close()  # else Python warns that nobody awaited it
    raise futures.CancelledError


def _run(done: Coroutine[Any, Any, None], outcome: futures.Future[Any]) -> None:
    try:
        asyncio.run(done)
    except BaseException as error:  # noqa: BLE001 - no loop could be made, for want of files or memory
        done.close()
        if not outcome.done():
            outcome.set_exception(error)
