"""Signals that are heard while something goes on, and Ctrl-C as a wish that is granted at the next good moment."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heard(number: signal.Signals, answer: Callable[[Sequence[int]], None]) -> Iterator[list[int]]:
    """Answer a signal while something goes on; outside the main thread the caller's own handling stays.

    Args:
        number: The signal.
        answer: Called with the list at each signal, its own included; by a handler, which may interrupt
            anything.

    Yields:
        A list that holds something once the signal came.
    """
    came: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        came.append(number)
        answer(came)

    try:
        before = signal.signal(number, handle)
    except ValueError:  # not in the main thread
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(number, before)


@contextmanager
def noted_interrupts(tell: Callable[[], None]) -> Iterator[list[int]]:
    """Turn the first Ctrl-C into a note in the list, and say so; the second one raises as usual.

    Args:
        tell: Says that it was heard, such as :meth:`redteam_env.utils.heartbeat.Heartbeat.at_once`: it is
            called by a handler of a signal, which may interrupt anything.

    Yields:
        A list that holds something once Ctrl-C was pressed.
    """
    before = signal.getsignal(signal.SIGINT)

    def answer(_: Sequence[int]) -> None:
        tell()
        # a shell's background jobs start with the signal ignored; a second one must stop them, too
        signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)

    with heard(signal.SIGINT, answer) as noted:
        yield noted
