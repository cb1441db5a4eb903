"""What a person sees while a run goes on: curves and the last steps; in a pipe one line a step."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from algorithms.training.config import TrainConfig
from algorithms.training.log import invented
from algorithms.training.metrics import step_tokens
from redteam_env.border.policies import describe
from redteam_env.game import Episode, role_of
from redteam_env.protocols import Callback, Row, TrainablePolicy, TrainingRun
from redteam_env.report.curves import sparkline
from redteam_env.utils.console import make_console
from redteam_env.utils.heartbeat import Heartbeat, duration, model_words
from redteam_env.utils.redaction import redacted
from redteam_env.utils.tables import Column, FittedTable, broken, significant
from redteam_env.utils.text import escape_controls, safe_text

COLUMNS = {
    "step": Column(heading="step"),
    "game/attack_success": Column(heading="attack success"),
    "attacker/reward": Column(heading="att. reward"),
    "defender/reward": Column(heading="def. reward"),
    "game/void": Column(heading="void"),
    "game/over_refusal_raw": Column(heading="over-refusal", drop=1),
    "attacker/signal": Column(heading="att. signal", drop=2),
    "defender/signal": Column(heading="def. signal", drop=3),
    "attacker/kl": Column(heading="att. KL", drop=4),
    "defender/kl": Column(heading="def. KL", drop=5),
    "attacker/refusal_to_attack": Column(heading="att. refuses", drop=6),
    "attacker/length": Column(heading="att. tokens", drop=7),
    "defender/length": Column(heading="def. tokens", drop=8),
    "attacker/entropy": Column(heading="att. entropy", drop=9),
    "defender/entropy": Column(heading="def. entropy", drop=10),
}
CURVES = {
    "attacker/reward": "attacker reward",
    "defender/reward": "defender reward",
    "game/attack_success": "attack success",
    "game/over_refusal_raw": "over-refusal",
}
HEALTH = {"forfeits": "forfeits", "format_violations": "broken format", "truncated": "cut turns"}
"""What decides whether a role's numbers mean anything, by what it is called here."""
SHOWN = 6
RECENT = 20
"""Steps whose time the time that is left is reckoned from."""
_NAME, _VALUE, _WIDEST, _LINES = 15, 8, 60, 2


def run_heartbeat(config: TrainConfig, *, leads: bool) -> Heartbeat:
    """Return what tells of a run's phases, and answers Ctrl-C; with ``json`` it says nothing.

    Args:
        config: The run.
        leads: Whether this process speaks.
    """
    silent = config.run.json or not leads
    console = make_console(stderr=True)

    def say(line: str) -> None:
        if not silent:
            console.print(safe_text(line), soft_wrap=True)

    return Heartbeat(say, beats=not (silent or config.run.quiet))


def model_line(config: TrainConfig, policy: TrainablePolicy) -> str:
    """Return what is trained, on what, in words."""
    told = describe(policy)
    words = model_words(
        str(getattr(config.policy, "model", None) or config.run.policy),
        parameters=told.get("base_parameters"),
        placement=getattr(policy, "placement", None),
        backend=getattr(config.policy, "backend", None),
    )
    return f"Model: {words}. Trained: {', '.join(policy.trainable_roles)}."


class LiveTable(Callback):
    """Shows the progress of a run on stderr.

    Args:
        steps: Steps in all.
        done: Steps done before.
        console: Where to draw.
        quiet: Show nothing.
        heartbeat: Is told what is going on.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        steps: int,
        done: int,
        *,
        console: Console,
        quiet: bool,
        heartbeat: Heartbeat,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._heartbeat = heartbeat
        self._clock = clock
        self._steps, self._done = steps, done
        self._rows: deque[Row] = deque(maxlen=SHOWN)
        self._curves: dict[str, list[float | None]] = {key: [] for key in CURVES}
        self._times: deque[float] = deque(maxlen=RECENT + 1)
        self._rate: float | None = None
        self._phase = "starting"
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, refresh_per_second=4)

    def on_start(self, run: TrainingRun) -> None:
        """Begin to draw."""
        self._run = run
        self._times.append(self._clock())
        if self._live:
            self._heartbeat.beats = False  # there it is seen what is going on
            self._live.start()
            self._draw()
        elif not self._quiet:
            config = run.config.run
            self._print(
                f"Training: steps {self._done + 1} to {self._steps}, {config.games} games each, into "
                f"{run.directory}."
            )

    def on_end(self, outcome: Any) -> None:
        """Stop drawing."""
        if self._live:
            self._live.stop()

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Show what is going on within a step."""
        self._heartbeat.doing(f"step {self._done + 1}: {phase}", done, total)
        self._phase = f"{phase} {done}/{total}" if total > 1 else phase
        if self._live:
            self._draw()

    def on_update(self, step: int, row: Row) -> None:
        """Show a finished step."""
        self._done = step + 1
        self._rows.append({**row, "step": self._done})
        for key, curve in self._curves.items():
            curve.append(row.get(key))
        self._times.append(self._clock())
        taken = self._times[-1] - self._times[-2] if len(self._times) > 1 else 0.0
        self._rate = step_tokens(row) / taken if taken > 0 else None
        if self._live:
            self._draw()
        elif not self._quiet:
            row = self._rows[-1]
            cells = [f"{x.heading} {significant(row.get(key))}" for key, x in COLUMNS.items()]
            cells[0] = f"step {self._done}/{self._steps}"
            self._print(self._between([*cells, *self._health(row), *self._speed()]))

    def _print(self, line: str) -> None:
        self._console.print(safe_text(line), soft_wrap=True)
        self._heartbeat.spoke()

    def _draw(self) -> None:
        if self._live:
            self._live.update(Group(*self._shown()))

    def _shown(self) -> Iterator[RenderableType]:
        width = self._console.width
        # first: in a small terminal the end is cropped
        where = [f"step {self._done}/{self._steps}", self._phase, *self._speed()]
        yield broken(safe_text(self._between(where), "bold"), width)
        if self._rows:
            yield self._drawn(width)
            yield Text("")
            yield self._table()
            yield broken(Text(self._between(self._health(self._rows[-1]))), width)
            yield from self._exchange(width)

    def _between(self, parts: Sequence[str]) -> str:
        """Return the parts of a line, separated by what the terminal can show."""
        return (" | " if self._console.options.ascii_only else " · ").join(parts)

    def _drawn(self, width: int) -> Text:
        """Return the curves of this call, a line each, with their last value."""
        room = max(1, min(_WIDEST, width - _NAME - _VALUE - 2))
        ascii_only = self._console.options.ascii_only
        lines = []
        for key, name in CURVES.items():
            values = self._curves[key]
            bars = sparkline(_scaled(values), room, ascii_only=ascii_only)
            lines.append(f"{name:<{_NAME}} {bars:<{room}} {significant(values[-1]):>{_VALUE}}")
        return Text("\n".join(lines), no_wrap=True)

    def _table(self) -> FittedTable:
        table = FittedTable(*COLUMNS.values())
        for row in self._rows:
            table.row(*(significant(row.get(key)) for key in COLUMNS))
        return table

    def _health(self, row: Row) -> list[str]:
        """Return what decides whether the numbers of a step mean anything."""
        lines = []
        for name, title in HEALTH.items():
            sides = [row.get(f"{role}/{name}") for role in ("attacker", "defender")]
            told = " + ".join("-" if x is None else f"{x:.2f}" for x in sides)
            lines.append(f"{title} {told}")
        faithful = row.get("game/faithfulness")
        return [*lines, f"faithful {'-' if faithful is None else f'{faithful:.2f}'}"]

    def _speed(self) -> list[str]:
        """Return tokens a second and the time that is left, once a step was taken."""
        if self._rate is None or len(self._times) < 2:
            return []
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        left = duration(each * (self._steps - self._done))
        return [f"{self._rate:,.0f} tokens/s", f"left {left}"]

    def _exchange(self, width: int) -> Iterator[Text]:
        """Yield what was said last, a few lines a player; of real requests only how much it is."""
        if not self._run.episodes:
            return
        episode: Episode = self._run.episodes[-1]
        shown = invented(self._run.config.game)
        kind = "harmful" if episode.seed.harmful else "benign"
        yield Text(f"last game: {kind} request, {'rewritten' if episode.rewritten else 'raw'}")
        for line in episode.dialogue.lines[-2:]:
            said = " ".join(escape_controls(line.text).split()) if shown else redacted(line.text)
            text = broken(Text(f"{role_of(line.seat)}: {said}"), width)
            lines = text.split("\n")
            if len(lines) > _LINES:
                yield Text("\n").join(lines[:_LINES])
                yield Text("  and more", "dim")
            else:
                yield text


def _scaled(values: list[float | None]) -> list[float | None]:
    """Return a curve between its least and its greatest value; one of shares lies in [0, 1] already."""
    finite = [x if x is not None and math.isfinite(x) else None for x in values]
    known = [x for x in finite if x is not None]
    low, high = min([0.0, *known]), max([1.0, *known])
    return [None if x is None else (x - low) / (high - low) for x in finite]
