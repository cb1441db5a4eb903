"""Sides for tests of the worker (they start in processes of their own, so they stand in a module),
and a stand-in that runs any side in a thread of this process."""

import os
import queue
import signal
import sys
import threading
import time
from contextlib import contextmanager

from algorithms.speed.worker import Lap


def counts(spec, turns):
    print("a library prints on the way")
    number = spec["start"]
    while turns.begin():
        number += 1
        turns.end(number=number)


def works(spec, turns):
    while turns.begin():
        started = time.process_time()
        while time.process_time() - started < 0.05:
            pass
        turns.end()


def holds(spec, turns):
    held = []
    while turns.begin():
        held.append(b"x" * 100_000_000)
        turns.end()


def fails(spec, turns):
    turns.begin()
    print("first words", file=sys.stderr)
    raise ValueError("the last words")


def dies(spec, turns):
    turns.begin()
    print("some progress", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(spec, turns):
    turns.begin()
    sys.exit(3)


def sleeps(spec, turns):
    turns.begin()
    time.sleep(600)


class Left(BaseException):
    """Ends a side that waits for its next lap, as the end of its process would."""


class Inside:
    """A side and its turns in one, without a process; it starts with its first lap."""

    def __init__(self, target, spec):
        self.asked, self.answers = queue.SimpleQueue(), queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run, args=(target, spec), daemon=True)

    def begin(self):
        if self.asked.get() == "leave":
            raise Left
        self.started = time.perf_counter()
        return True

    def end(self, **facts):
        seconds = time.perf_counter() - self.started
        self.answers.put(Lap(seconds=seconds, cpu_seconds=seconds, peak_gb=0.5, facts=facts))

    def run(self, target, spec):
        try:
            target(spec, self)
        except Left:
            pass
        except Exception as error:  # noqa: BLE001 - any failure is the answer
            self.answers.put(error)

    def lap(self):
        if not self.thread.is_alive():
            self.thread.start()
        self.asked.put("go")
        answer = self.answers.get(timeout=60)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def inside(name, target, spec):
    """Take the place of ``worker.side``."""
    made = Inside(target, spec)
    yield made
    made.asked.put("leave")
    if made.thread.is_alive():
        made.thread.join(20)
