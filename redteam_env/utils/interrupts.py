"""Ctrl-C as a wish that is answered at once and granted at the next good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted_interrupts(tell: Callable[[], None]) -> Iterator[list[int]]:
    """Turn the first Ctrl-C into a note in the list, and say so; the second one raises as usual.

    Args:
        tell: Says that it was heard, such as :meth:`redteam_env.utils.heartbeat.Heartbeat.at_once`: it is
            called by a handler of a signal, which may interrupt anything.

    Yields:
        A list that holds something once Ctrl-C was pressed.
    """
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        tell()
        # a shell's background jobs start with the signal ignored; a second one must stop them, too
        signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread: the caller's own handling stays
        yield noted
        return
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
