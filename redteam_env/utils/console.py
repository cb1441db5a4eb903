"""Where reports are printed: consoles that never cut a table, and a progress bar on stderr."""

import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from redteam_env.utils.heartbeat import Heartbeat
from redteam_env.utils.tables import broken
from redteam_env.utils.text import escape_controls, safe_text

WIDE = 1000
_COUNTS = 30
"""Cells of a progress bar that its numbers take."""


class _Console(Console):
    """A console that leaves a closed pipe to the command line, which has one answer to it."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr.

    Into a file or a pipe it writes plain text of any width; strings are never read as markup.

    Args:
        stderr: Write to stderr instead of stdout.
    """
    console = _Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def print_json(value: Any) -> None:
    """Print strict JSON to stdout: what is no finite number becomes null, and a path, for example, its text."""
    sys.stdout.write(json.dumps(strict(value), indent=2, allow_nan=False, default=str) + "\n")


def strict(value: Any) -> Any:
    """Return plain JSON with null in the place of what is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: strict(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [strict(x) for x in value]
    return value


def tolerate_any_text() -> None:
    """Let stdout and stderr spell out characters that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Shown:
    """Shows on stderr what long work does; called as ``shown(phase, done, total)``.

    Attributes:
        report: Takes the progress.
        heartbeat: Prints lines, above the bar if there is one.
    """

    report: Callable[[str, int, int], None]
    heartbeat: Heartbeat

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show how far the work is."""
        self.report(phase, done, total)

    def say(self, line: str) -> None:
        """Print a line."""
        self.heartbeat.say(line)

    def at_once(self, line: str) -> None:
        """Have a thread print a line; this may be called from a handler of a signal."""
        self.heartbeat.at_once(line)


@contextmanager
def progress_bar(*, visible: bool = True) -> Iterator[Shown]:
    """Show one bar on stderr while something long runs; where that is no terminal, a line now and then.

    Args:
        visible: Whether to show it at all.

    Yields:
        What is to be called as ``shown(phase, done, total)``.
    """
    console = make_console(stderr=True)
    beats = visible and not console.is_terminal
    with Heartbeat(
        lambda line: console.print(broken(safe_text(line), console.width), soft_wrap=True),
        beats=beats,
    ) as heartbeat:
        if beats or not visible:
            yield Shown(heartbeat.doing, heartbeat)
        else:
            with _bar(console) as report:
                yield Shown(report, heartbeat)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    room = console.width - _COUNTS
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=min(40, room // 3)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=None)

        def report(phase: str, done: int, total: int) -> None:
            title = escape_controls(phase)
            if len(title) > 2 * room // 3:
                title = f"{title[: 2 * room // 3 - 4]} ..."
            bar.update(task, description=title, completed=done, total=total)

        yield report
