"""A wall clock that jumps, as after a sleep of the machine or when it is set right."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from redteam_env.testing.faults.when import When


@contextmanager
def faulty_clock(when: When, jump: float = 3600.0) -> Iterator[When]:
    """Let ``time.time()`` jump in this process, in all threads.

    ``time.monotonic()`` is left alone: it never jumps, which is why deadlines belong to it.

    Args:
        when: Which calls of ``time.time()`` find the clock moved.
        jump: By how many seconds each time, back if negative.

    Yields:
        ``when``, which counts the calls.
    """
    true, true_ns = time.time, time.time_ns

    def seconds() -> float:
        when.due()
        return true() + when.failed * jump

    def nanoseconds() -> int:
        when.due()
        return true_ns() + round(when.failed * jump * 1e9)

    time.time, time.time_ns = seconds, nanoseconds
    try:
        yield when
    finally:
        time.time, time.time_ns = true, true_ns
