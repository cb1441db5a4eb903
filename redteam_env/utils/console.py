"""Where reports are printed: consoles that never cut a table, and a progress bar on stderr."""

import codecs
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from redteam_env.utils.heartbeat import Heartbeat
from redteam_env.utils.tables import broken
from redteam_env.utils.text import escape_controls, safe_text

WIDE = 1000
_COUNTS = 30
"""Cells of a progress bar that its numbers take."""
_SPELLED = "redteam_env.spelled"
_PLAIN = {"\N{BULLET}": "*", "\N{HORIZONTAL ELLIPSIS}": "..."}
"""What is written for marks of layout that an encoding lacks."""
_NARROW = 60
"""Cells of a terminal that are too few for a bar beside its title."""


class _Console(Console):
    """A console that leaves a closed pipe to the command line, and breaks no word where a terminal's line ends."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; where a line is too long for the terminal, it is broken between words."""
        if self.is_terminal and options.get("end", "\n") == "\n":
            objects = tuple(
                broken(x if isinstance(x, Text) else Text(x), self.width)
                if isinstance(x, str | Text)
                else x
                for x in objects
            )
        super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr.

    Into a file or a pipe it writes plain text of any width; strings are never read as markup. There
    ``FORCE_COLOR``, which CI services set, brings colours, but neither what moves nor a terminal's width.

    Args:
        stderr: Write to stderr instead of stdout.
    """
    options: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    stream = sys.stderr if stderr else sys.stdout
    if os.environ.get("FORCE_COLOR") and not stream.isatty():
        options |= {"force_terminal": False, "color_system": "standard"}
    console = _Console(stderr=stderr, **options)
    if not console.is_terminal:
        console.width = WIDE
    elif console.is_dumb_terminal:  # of which rich says that it has 80 columns
        console.size = shutil.get_terminal_size()
    return console


class _Fitted:
    """A stream that gets line breaks between words where a line is too long.

    Args:
        stream: Where the text goes; whatever else is asked of this object is asked of that.
        width: The longest line, in cells.
    """

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Pass on all lines that are whole."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            plain = Text.from_ansi(line)
            fits = plain.cell_len <= self._width
            self._stream.write(f"{line if fits else broken(plain, self._width).plain}\n")
        return len(text)

    def end(self) -> None:
        """Pass on what is left of a line."""
        self._stream.write(self._begun)


@contextmanager
def fitted_stdout() -> Iterator[None]:
    """Have no line that is written to stdout be longer than the terminal; a file's lines are of any length."""
    console = make_console()
    if not console.is_terminal:
        yield
        return
    stream = sys.stdout
    fitted = _Fitted(stream, console.width)
    sys.stdout = fitted
    try:
        yield
    finally:
        fitted.end()
        sys.stdout = stream


class _Aside:
    """Standard output for everybody but :func:`write_answer`: it is another stream.

    Args:
        stream: The other stream.
        answers: The real one.
    """

    def __init__(self, stream: TextIO, answers: TextIO) -> None:
        self._stream = stream
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def answers_alone() -> Iterator[None]:
    """Have nothing but :func:`write_answer` write to stdout: what a plug-in prints goes to stderr."""
    stream = sys.stdout
    sys.stdout = _Aside(sys.stderr, stream)
    try:
        yield
    finally:
        sys.stdout = stream


def write_answer(text: str) -> None:
    """Write what others read, such as JSON, to stdout."""
    stream = getattr(sys.stdout, "answers", sys.stdout)
    stream.write(text)
    stream.flush()


def print_json(value: Any) -> None:
    """Print strict JSON to stdout: what is no finite number becomes null, and a path, for example, its text."""
    write_answer(json.dumps(strict(value), indent=2, allow_nan=False, default=str) + "\n")


def strict(value: Any) -> Any:
    """Return plain JSON with null in the place of what is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: strict(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [strict(x) for x in value]
    return value


def reopen_streams() -> None:
    """Give each standard stream that was closed a place to go, and its number, which a file would take."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for good


def tolerate_any_text() -> None:
    """Let stdout and stderr spell out characters that their encoding lacks, instead of failing."""
    codecs.register_error(_SPELLED, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written for the first character that cannot be, and where it goes on."""
    if isinstance(error, UnicodeEncodeError):
        plain = _PLAIN.get(error.object[error.start])
        if plain is not None:
            return plain, error.start + 1
    return codecs.backslashreplace_errors(error)


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
        lambda line: console.print(safe_text(line), soft_wrap=True), beats=beats
    ) as heartbeat:
        if beats or not visible:
            yield Shown(heartbeat.doing, heartbeat)
        else:
            with _bar(console) as report:
                yield Shown(report, heartbeat)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    drawn = console.width >= _NARROW
    room = console.width - _COUNTS
    longest = 2 * room // 3 if drawn else room
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([BarColumn(bar_width=min(40, room // 3))] if drawn else []),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=None)

        def report(phase: str, done: int, total: int) -> None:
            title = escape_controls(phase)
            if len(title) > longest:
                title = f"{title[: longest - 3].rpartition(' ')[0] or title[: longest - 4]} ..."
            bar.update(task, description=title, completed=done, total=total)

        yield report
