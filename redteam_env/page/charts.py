"""Charts as SVG whose colours are the page's, so that they are legible in its light and its dark scheme.

Series are told apart by colour and by dashes. What is not a finite number is not drawn.
"""

import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from redteam_env.evaluation import Interval
from redteam_env.page.blocks import Figure, Table, finite, shown
from redteam_env.report.curves import mean
from redteam_env.report.tables import number_cell

SERIES = 8
"""So many series have a style of their own; further ones begin again."""
SMOOTHED = 9
"""Steps over which the thick line of a curve averages."""
COLUMNS = 300
"""Most points of a line; of more, neighbours are averaged."""
_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 14, 52
_LABELLED = 38
"""The upper margin of a chart whose vertical axis is named above it."""
_ROWS = 13
"""Most rows of the table of numbers beside a chart."""

TINY, HUGE = 1e-9, 1e100
"""Values further from 0 are no measurement, and are not drawn; less between two values is nothing."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The marks of an axis of shares."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval, as a point of a chart.

    Attributes:
        value: The share.
        interval: Its interval, if it has one.
    """

    value: float
    interval: Interval | None

    def __str__(self) -> str:
        """Return it as the tables show it."""
        if self.interval is None:
            return f"{self.value:.2f}"
        return number_cell(self.value, self.interval).plain


def curves(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    *,
    share: bool,
    x_label: str = "training step",
    note: str = "",
) -> Figure | None:
    """Return a chart of values over steps, each a thin line with its running mean over it.

    Args:
        title: What it shows.
        series: For each name a value for each step, from step 1.
        share: Whether the values are shares, drawn from 0 to 1.
        x_label: What the steps are called.
        note: What is to be known to read it.

    Returns:
        The chart; ``None`` if there is no number.
    """
    known = {name: values for name, values in series.items() if any(x is not None for x in values)}
    if not known:
        return None
    steps = max(map(len, known.values()))
    ticks = SHARES if share else _ticks([x for v in known.values() for x in v])
    plane = _Plane(x=(1, max(2, steps)), ticks=ticks)
    parts = plane.frame(x_label)
    for k, values in enumerate(known.values()):
        thin, thick = _thinned(values), _thinned(_smoothed(values))
        parts.append(plane.line(thin, f"thin s{k % SERIES}"))
        parts.append(plane.line(thick, f"thick s{k % SERIES}"))
    smoothed = {name: _smoothed(values) for name, values in known.items()}
    places = sorted({round(x * (steps - 1) / (_ROWS - 1)) for x in range(_ROWS)})
    rows = [
        [str(place + 1), *(_number(_at(values, place)) for values in smoothed.values())]
        for place in places
    ]
    return Figure(
        title=title,
        svg=plane.svg(parts, f"{title}: {', '.join(known)} over {steps} steps"),
        legend=list(known),
        numbers=Table(
            title=f"{title}: means of up to {SMOOTHED} steps",
            headings=[x_label, *known],
            rows=rows,
        ),
        note=note,
    )


def points(
    title: str,
    series: Mapping[str, Sequence[tuple[str, Share, Share]]],
    *,
    joined: Container[str] = frozenset(),
    x_label: str,
    y_label: str,
    note: str = "",
) -> Figure | None:
    """Return a chart of shares against shares, each with the intervals of both.

    Args:
        title: What it shows.
        series: For each name its points in order: what a point is called, and both shares.
        joined: The names of series whose points a line joins; of these only the last is filled.
        x_label: What the first share is of.
        y_label: What the second share is of.
        note: What is to be known to read it.

    Returns:
        The chart; ``None`` without a point.
    """
    known = {name: found for name, found in series.items() if found}
    if not known:
        return None
    plane = _Plane(x=(0, 1), ticks=SHARES, height=380, top=_LABELLED)
    parts = plane.frame(x_label, y_label)
    rows = []
    for k, (name, found) in enumerate(known.items()):
        style = f"s{k % SERIES}"
        line = name in joined and len(found) > 1
        if line:
            parts.append(plane.line([(x.value, y.value) for _, x, y in found], f"join {style}"))
        for place, (label, x, y) in enumerate(found):
            last = not line or place == len(found) - 1
            # points of several series at one place are rings, the later within the earlier
            size = 5 if line else max(3, 8 - k)
            parts += plane.cross(x, y, style, f"{name}, {label}", last=last, size=size)
            rows.append([f"{name}, {label}", str(x), str(y)])
    return Figure(
        title=title,
        svg=plane.svg(parts, f"{title}: {y_label} against {x_label} of {len(rows)} points"),
        legend=list(known),
        numbers=Table(title=title, headings=["", x_label, y_label], rows=rows),
        note=note,
    )


class _Plane:
    """Maps numbers to places of a drawing."""

    def __init__(
        self,
        *,
        x: tuple[float, float],
        ticks: Sequence[float],
        height: int = _HEIGHT,
        top: int = _TOP,
    ) -> None:
        self._x = x
        self._ticks = ticks
        self._height = height
        self._top = top

    def _place(self, x: float, y: float) -> tuple[float, float]:
        inner = (_WIDTH - _LEFT - _RIGHT, self._height - self._top - _BOTTOM)
        low, high = self._ticks[0], self._ticks[-1]
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - low) / (high - low)
        return (
            round(_LEFT + inner[0] * min(1.0, max(0.0, across)), 1),
            round(self._height - _BOTTOM - inner[1] * min(1.0, max(0.0, up)), 1),
        )

    def frame(self, x_label: str, y_label: str = "") -> list[str]:
        """Return axes with their numbers."""
        low_x, high_x = self._x
        parts = []
        for y in self._ticks:
            left, top = self._place(low_x, y)
            right, _ = self._place(high_x, y)
            parts.append(f'<path class="grid" d="M{left} {top}H{right}"/>')
            parts.append(_text(left - 8, top + 5, _number(y), "end"))
        between = (low_x + high_x) / 2
        for x in (low_x, between if high_x <= 1 else float(round(between)), high_x):
            left, top = self._place(x, self._ticks[0])
            parts.append(_text(left, top + 20, _number(x) if high_x <= 1 else f"{x:.0f}", "middle"))
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, self._height - 8, x_label, "middle"))
        if y_label:
            parts.append(_text(4, 18, f"\u2191 {y_label}", "start"))
        return parts

    def line(self, found: Points, style: str) -> str:
        """Return a line through points."""
        places = " ".join(f"{a},{b}" for a, b in (self._place(x, y) for x, y in found))
        return f'<polyline class="{style}" points="{places}"/>'

    def cross(
        self, x: Share, y: Share, style: str, label: str, *, last: bool, size: int
    ) -> list[str]:
        """Return a point with its intervals; the last one of a series is filled."""
        left, top = self._place(x.value, y.value)
        parts = []
        if x.interval is not None:
            (a, _), (b, _) = (self._place(z, y.value) for z in (x.interval.low, x.interval.high))
            parts.append(f'<path class="span {style}" d="M{a} {top}H{b}"/>')
        if y.interval is not None:
            (_, a), (_, b) = (self._place(x.value, z) for z in (y.interval.low, y.interval.high))
            parts.append(f'<path class="span {style}" d="M{left} {a}V{b}"/>')
        kind = "dot last" if last else "dot"
        tip = escape(shown(f"{label}: {x}, {y}"))
        parts.append(
            f'<circle class="{kind} {style}" cx="{left}" cy="{top}" r="{size}"><title>{tip}</title></circle>'
        )
        return parts

    def svg(self, parts: Sequence[str], label: str) -> str:
        """Return the drawing."""
        box = f'viewBox="0 0 {_WIDTH} {self._height}"'
        return f'<svg {box} role="img" aria-label="{escape(shown(label))}">{"".join(parts)}</svg>'


def values_of(rows: Sequence[Mapping[str, object]], name: str) -> list[float | None]:
    """Return a metric for each step; ``None`` where a row lacks it, or it is no number."""
    return [_drawn(row.get(name)) for row in rows]


def undrawn(rows: Sequence[Mapping[str, object]]) -> Counter[str]:
    """Return at how many steps each metric has a value that is no finite number, and so is not drawn."""
    return Counter(
        name
        for row in rows
        for name, value in row.items()
        if value is not None and _drawn(value) is None  # without games a rate has none
    )


def _drawn(value: object) -> float | None:
    own = finite(value)
    return own if own is not None and abs(own) < HUGE else None


def _smoothed(values: Sequence[float | None]) -> list[float | None]:
    half = SMOOTHED // 2
    return [mean(values[max(0, k - half) : k + half + 1]) for k in range(len(values))]


def _thinned(values: Sequence[float | None]) -> list[tuple[float, float]]:
    columns = min(len(values), COLUMNS)
    edges = [k * len(values) // columns for k in range(columns + 1)]
    found = []
    for a, b in pairwise(edges):
        if (value := mean(values[a:b])) is not None:
            found.append(((a + b + 1) / 2, value))
    return found


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None


def _ticks(values: Sequence[float | None]) -> list[float]:
    """Return round numbers, 3 to 7 of them, between whose ends all values lie."""
    known = [x for x in values if x is not None]
    low, high = min(0.0, *known), max(0.0, *known)
    if all(x > 0 for x in known) and min(known) > (high - low) / 2:
        low = min(known)
    width = high - low
    if width < TINY * max(abs(low), abs(high), TINY):
        width = max(abs(high), 1.0)
    size = 10.0 ** math.floor(math.log10(width / 4))
    step = next((k * size for k in (1, 2, 2.5, 5, 10) if width / (k * size) <= 5), 10 * size)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 or abs(value) >= 1e9 else f"{value:,.0f}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(shown(text))}</text>'
