"""What a person sees while a run goes on: a bar and the last steps (in a pipe one line a step), warnings."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from algorithms.training.metrics import DISAGREES, disagreements
from redteam_env.border.judges import notice
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
LEAST_SIGNAL = 0.05
PATIENCE = 10
MOST_WRONG = 0.2
LEAST_READ = 10


class LiveTable(Callback):
    """Shows the progress of a run on stderr.

    Args:
        steps: Steps in all.
        done: Steps done before.
        console: Where to draw.
        quiet: Show nothing.
    """

    def __init__(self, steps: int, done: int, *, console: Console, quiet: bool) -> None:
        self._console = console
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


class SignalWarning(Callback):
    """Warns when nearly all games pay a role the same: once ``ROLE/signal`` stays low for ten steps.

    It counts the steps of this call, and warns anew only after better ones.

    Args:
        roles: The roles that learn.
        console: Where to say it: the live table's, so that the warning stands above it.
    """

    def __init__(self, roles: Sequence[str], console: Console) -> None:
        self._roles = roles
        self._console = console
        self._low: Counter[str] = Counter()

    def on_update(self, step: int, row: Row) -> None:
        """Count the steps in a row with little signal; those without games count for nothing."""
        for role in self._roles:
            signal = row.get(f"{role}/signal")
            if signal is None:
                continue
            self._low[role] = self._low[role] + 1 if signal < LEAST_SIGNAL else 0
            if self._low[role] == PATIENCE:
                self._console.print(
                    f"Warning: in each of the last {PATIENCE} steps, more than "
                    f"{1 - LEAST_SIGNAL:.0%} of the {role}'s games paid the same ({role}/signal is "
                    f"{signal:.3g}): there is little to learn from. Give it an opponent it can win and "
                    "lose against, other rewards, or more games a step.",
                    soft_wrap=True,
                    highlight=False,
                    markup=False,
                )


class LabelWarning(Callback):
    """Warns once when the judge reads too many raw requests otherwise than their seeds are labelled.

    The games are paid by the seeds' labels all the same, unless ``prompt_label`` is ``judge``; but such a
    judge reads rewrites no better, and drift and faithfulness rest on what it says. It counts the games
    of this call. At the start it says the judge's notice, if there is one.

    Args:
        console: Where to say it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._found: list[bool] = []
        self._warned = False

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run
        if (said := notice(run.judge)) is not None:
            self._print(said)

    def on_update(self, step: int, row: Row) -> None:
        """Count the raw games of a step."""
        if self._warned:
            return
        self._found += disagreements(self._run.episodes)
        games, wrong = len(self._found), sum(self._found)
        if games < LEAST_READ or wrong <= MOST_WRONG * games:
            return
        self._warned = True
        self._print(
            f"Warning: the judge {self._run.judge.name!r} reads {wrong} of {games} raw requests otherwise "
            f"than their seeds are labelled ({DISAGREES}). It reads rewrites no better: take what it says "
            "of drift and faithfulness with care, or choose another --judge."
        )

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
