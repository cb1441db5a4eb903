"""A sign of life where long work would print nothing: in a pipe, in the log of a scheduler.

What is to be said at once, such as the answer to Ctrl-C, is said by a thread, too: a handler of a
signal may interrupt anything, and must not print by itself.
"""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

EVERY_S = 30.0
"""Seconds of silence before a sign of life."""
PHASE_S = 5.0
"""Seconds of silence before a new phase is told of."""
_MANY = 100_000
"""Parameters from which a model is told of in millions."""


class Heartbeat:
    """Says what is going on wherever nothing has been said for some time; a context manager.

    Args:
        say: Prints a line; called by a thread, too.
        beats: Whether it tells of phases and gives signs of life; else it says only what it is given.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        beats: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.beats = beats
        self._say = say
        self._clock = clock
        self._phase = self._place = ""
        self._told: set[str] = set()
        self._began = self._spoke = clock()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.put(None)
        self._thread.join()

    def doing(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Note what is going on; a phase is told of once, but not one of many that follow each other fast.

        Args:
            phase: What it is.
            done: How much of it is done.
            total: How much there is; 0 if that is not known.
        """
        self._place = f"{phase} {done}/{total}" if total > 1 else phase
        if phase == self._phase:
            return
        self._phase, self._began = phase, self._clock()
        if self.beats and phase not in self._told and self._began - self._spoke >= PHASE_S:
            self._told.add(phase)
            self.say(self._place)

    def say(self, line: str) -> None:
        """Print a line."""
        self.spoke()
        self._say(line)

    def spoke(self) -> None:
        """Note that something was printed just now."""
        self._spoke = self._clock()

    def at_once(self, line: str) -> None:
        """Have the thread print a line; this may be called from a handler of a signal."""
        self._lines.put(line)

    def beat(self) -> None:
        """Give a sign of life if nothing has been said for long."""
        now = self._clock()
        if self.beats and self._phase and now - self._spoke >= EVERY_S:
            self.say(f"{self._place}, for {duration(now - self._began)} now")

    def _watch(self) -> None:
        while True:
            quiet = self._clock() - self._spoke
            try:
                line = self._lines.get(timeout=max(1.0, EVERY_S - quiet))
            except queue.Empty:
                self.beat()
                continue
            if line is None:
                return
            self.say(line)


def model_words(
    model: str,
    *,
    parameters: int | None = None,
    placement: str | None = None,
    backend: str | None = None,
) -> str:
    """Return what a model is and where it runs, such as ``smollm2, 134.5 M parameters, cpu, float32``.

    Args:
        model: Its name.
        parameters: How many it has.
        placement: Its device and the format of its numbers.
        backend: What samples from it.
    """
    parts = [model]
    if parameters:
        many = parameters >= _MANY
        told = f"{parameters / 1e6:,.1f} M" if many else f"{parameters:,}"
        parts.append(f"{told} parameters")
    if placement:
        parts.append(placement)
    if backend:
        parts.append(f"backend {backend}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as ``0:01:30``."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
