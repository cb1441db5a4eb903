"""Measured sides in processes of their own, so that each has its own peak of memory.

The parent asks, a side answers: one line of JSON each way. A side is a function
``side(spec, turns)`` that makes what it needs, then works while ``turns.begin()`` is true and ends
each piece of work with ``turns.end(...)``. Sides that are compared take turns, so that what else the
machine does falls on both.
"""

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

import psutil

from algorithms.training.memory import peak_gb
from redteam_env.game import RedteamError

_PATIENCE_S = 5.0
"""How long a side may take to leave when it is told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One piece of work of a side.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time of its process and of those it waited for.
        peak_gb: Most memory its process ever held, in 10^9 bytes.
        facts: What else the side said.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Side:
    """A side as the parent sees it.

    Args:
        name: What messages call it.
        process: Its process.
        said: The file that its standard error goes to.
    """

    def __init__(self, name: str, process: "subprocess.Popen[str]", said: IO[str]) -> None:
        self.name = name
        self._process = process
        self._said = said

    def lap(self) -> Lap:
        """Let the side do one piece of work.

        Raises:
            RedteamError: If it fails; its last words are in the text.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - Popen was asked for pipes
        assert stdout is not None  # noqa: S101 - the same
        try:
            stdin.write("go\n")
            stdin.flush()
        except BrokenPipeError:
            answer = ""
        else:
            answer = stdout.readline()
        if not answer:
            code = self._process.wait()
            self._said.seek(0)
            lines = [line for line in self._said.read().splitlines() if line.strip()]
            last = lines[-1] if lines and code >= 0 else f"exit code {code}"
            killed = ", perhaps for want of memory" * (code == -signal.SIGKILL)
            raise RedteamError(f"Measuring {self.name!r} failed: {last}{killed}")
        return Lap(**json.loads(answer))

    def close(self) -> None:
        """End the process, if need be by force."""
        if self._process.stdin:
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@contextmanager
def side(name: str, target: Callable[..., None], spec: Mapping[str, Any]) -> Iterator[Side]:
    """Start a side and end it when the block is left, however it is left.

    Args:
        name: What messages call it.
        target: A function of a module, ``target(spec, turns)``.
        spec: What it is told, as plain JSON; ``threads`` is obeyed for every library.
    """
    threads = str(spec["threads"])
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads) | {"TOKENIZERS_PARALLELISM": "false"}
    where = f"{target.__module__}:{target.__qualname__}"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(  # noqa: S603 - our own module  # nosec B603 # this interpreter and a module of ours
            [sys.executable, "-m", "algorithms.speed.worker", where, json.dumps(dict(spec))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
        )
        made = Side(name, process, said)
        try:
            yield made
        finally:
            made.close()


def take_turns(
    sides: Mapping[str, tuple[Callable[..., None], Mapping[str, Any]]],
    *,
    warm: int,
    laps: int,
    report: Callable[[str], None],
) -> Iterator[tuple[str, list[Lap]]]:
    """Run sides one after the other, again and again.

    Args:
        sides: For each name, the function and its spec.
        warm: First laps of each that do not count.
        laps: Laps of each that count.
        report: Called with the name of the side that begins a lap.

    Yields:
        Each side with its laps that count, as soon as it has all of them.
    """
    done: dict[str, list[Lap]] = {name: [] for name in sides}
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(side(name, target, spec))
            for name, (target, spec) in sides.items()
        }
        for lap in range(warm + laps):
            for name, one in started.items():
                report(name)
                found = one.lap()
                if lap >= warm:
                    done[name].append(found)
                if lap == warm + laps - 1:
                    yield name, done[name]


class Turns:
    """The parent as a side sees it.

    Args:
        answers: Where answers go, one line each.
    """

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._started = (0.0, 0.0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._asked.put(line)
        os._exit(0)  # the parent is gone or has enough: nothing that runs here is of use

    def begin(self) -> bool:
        """Wait until the next piece of work is asked for, and start the clocks; always true."""
        self._asked.get()
        self._started = (time.perf_counter(), _cpu())
        return True

    def end(self, **facts: Any) -> None:
        """Stop the clocks and answer.

        Args:
            facts: What else the parent should know, as plain JSON.
        """
        wall, cpu = time.perf_counter() - self._started[0], _cpu() - self._started[1]
        lap = {"seconds": wall, "cpu_seconds": cpu, "peak_gb": peak_gb(), "facts": facts}
        self._answers.write(json.dumps(lap) + "\n")
        self._answers.flush()


def _cpu() -> float:
    """Return the CPU time of this process and of its children, those that are still there as well."""
    times = os.times()
    found = time.process_time() + times.children_user + times.children_system
    for child in psutil.Process().children():  # such as the server that forks a study's processes
        with suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            found += own.user + own.system + own.children_user + own.children_system
    return float(found)


def main(arguments: Sequence[str]) -> None:
    """Run one side: ``module:function`` and its spec as JSON."""
    where, spec = arguments
    # libraries print; the answers get the pipe for themselves
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, function = where.partition(":")
    getattr(importlib.import_module(module), function)(json.loads(spec), Turns(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
