"""What a person sees while runs train side by side: their curves on a terminal, else a line now and then.

The runs write their metrics as they go, in other processes; this reads them from their directories.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from algorithms.studies.quickstart.race import WINDOW, curves_of
from redteam_env.game import RedteamError
from redteam_env.report import Curve, mean, sparkline
from redteam_env.runs import Run
from redteam_env.utils.heartbeat import Heartbeat
from redteam_env.worlds.apothecary import ApothecaryJudge

LOOK_S = 1.0
EVERY = 10
"""Without a terminal: steps of a run from one line to the next."""
_NAME, _VALUE = 17, 4
_WIDEST, _NARROWEST = 60, 8


class Watch:
    """Shows runs while they train; a context manager.

    Args:
        runs: The directory of each run, by what it is called.
        steps: Steps of each.
        console: Where to show them.
        quiet: Show nothing.
    """

    def __init__(
        self, runs: Mapping[str, Path], steps: int, *, console: Console, quiet: bool
    ) -> None:
        self._runs = {name: Run(path) for name, path in runs.items()}
        self._steps = steps
        self._console = console
        self._quiet = quiet
        self._judge = ApothecaryJudge()
        self._said = {name: len(run.rows()) for name, run in self._runs.items()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._alive = Heartbeat(self._print, beats=not console.is_terminal)
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if not self._quiet:
            if self._live is not None:
                self._live.start()
            self._alive.__enter__()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._quiet:
            return
        self._over.set()
        self._thread.join()
        self._look()
        self._alive.__exit__(kind, error, traceback)
        if self._live is not None:
            self._live.stop()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        with suppress(OSError, RedteamError):  # the runs themselves say what is wrong with them
            rows = {name: run.rows() for name, run in self._runs.items()}
            if self._live is not None:
                self._live.update(self._drawn(rows), refresh=True)
            else:
                self._alive.doing("training", sum(map(len, rows.values())), self._steps * len(rows))
                self._say(rows)

    def _drawn(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Group:
        return Group(
            *(
                curves_text(
                    f"{name}, step {len(found)} of {self._steps}",
                    curves_of(found, self._judge),
                    self._steps,
                    self._console,
                )
                for name, found in rows.items()
            )
        )

    def _say(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        for name, found in rows.items():
            done = len(found) if len(found) == self._steps else len(found) // EVERY * EVERY
            if done <= self._said[name]:
                continue
            self._said[name] = done
            curves = curves_of(found[max(0, done - EVERY) : done], self._judge)
            parts = [f"{title} {_number(mean(curve))}" for title, curve in curves.items()]
            self._alive.say(f"{name} {done}/{self._steps}: {', '.join(parts)}")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def curves_text(title: str, curves: Mapping[str, Curve], steps: int, console: Console) -> Text:
    """Return curves a line each: name, bars over the whole run, and the mean of the last steps.

    Args:
        title: What stands above them.
        curves: The curves, by name.
        steps: Steps of the whole run, which the bars have room for.
        console: Where they are shown: its width and its characters.
    """
    width = max(_NARROWEST, min(_WIDEST, steps, console.width - _NAME - _VALUE - 2))
    text = Text(f"{title}\n", "bold", no_wrap=True)
    for name, curve in curves.items():
        whole = [*curve, *([None] * (steps - len(curve)))]
        bars = sparkline(whole, width, ascii_only=console.options.ascii_only)
        line = f"{name:<{_NAME}} {bars:<{width}} {_number(mean(curve[-WINDOW:])):>{_VALUE}}\n"
        text.append(line, "not bold")
    return text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
