"""What a person sees while a run goes on: a bar and the last steps; one line a step in a pipe."""

from collections import deque
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from redteam_env.protocols import Callback, Row, TrainingRun

COLUMNS = {
    "step": "step",
    "attacker/reward": "att. reward",
    "defender/reward": "def. reward",
    "attacker/kl": "att. KL",
    "defender/kl": "def. KL",
    "attacker/entropy": "att. entropy",
    "defender/entropy": "def. entropy",
    "attacker/length": "att. tokens",
    "defender/length": "def. tokens",
    "game/attack_success": "ASR",
    "attacker/refusal_to_attack": "att. refuses",
    "game/void": "void",
}
SHOWN = 12


class LiveTable(Callback):
    """Shows the progress of a run on stderr.

    Args:
        steps: Steps in all.
        done: Steps done before.
        quiet: Show nothing.
    """

    def __init__(self, steps: int, done: int, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._rows: deque[Row] = deque(maxlen=SHOWN)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._total = self._bar.add_task("steps", total=steps, completed=done)
        self._phase = self._bar.add_task("phase", total=None)
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, refresh_per_second=4)

    def on_start(self, run: TrainingRun) -> None:
        """Begin to draw."""
        if self._live:
            self._live.start()
            self._draw()

    def on_end(self, outcome: Any) -> None:
        """Stop drawing."""
        if self._live:
            self._live.stop()

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Show what is going on within a step."""
        self._bar.update(self._phase, description=phase, completed=done, total=total)

    def on_update(self, step: int, row: Row) -> None:
        """Show a finished step."""
        self._rows.append({**row, "step": step + 1})
        self._bar.update(self._total, completed=step + 1)
        if self._live:
            self._draw()
        elif not self._quiet:
            cells = [f"{title} {_cell(self._rows[-1].get(key))}" for key, title in COLUMNS.items()]
            self._console.print(" · ".join(cells), soft_wrap=True, highlight=False, markup=False)

    def _draw(self) -> None:
        assert self._live is not None  # noqa: S101 - tells mypy what the callers checked
        table = Table(*COLUMNS.values())
        for row in self._rows:
            table.add_row(*[_cell(row.get(key)) for key in COLUMNS])
        self._live.update(Group(table, self._bar))


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
