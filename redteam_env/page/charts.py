"""Charts as SVG whose colours are the page's, so that they are legible in its light and its dark scheme.

Series are told apart by colour and by dashes. What is not a finite number is not drawn.
"""

from collections.abc import Mapping, Sequence
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
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 34
_ROWS = 13
"""Most rows of the table of numbers beside a chart."""

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
    low, high = (0.0, 1.0) if share else _range([x for v in known.values() for x in v])
    plane = _Plane(x=(1, max(2, steps)), y=(low, high))
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
    x_label: str,
    y_label: str,
    note: str = "",
) -> Figure | None:
    """Return a chart of shares against shares, each with the intervals of both.

    Args:
        title: What it shows.
        series: For each name its points in order, which a line joins: what a point is called, and both shares.
        x_label: What the first share is of.
        y_label: What the second share is of.
        note: What is to be known to read it.

    Returns:
        The chart; ``None`` without a point.
    """
    known = {name: found for name, found in series.items() if found}
    if not known:
        return None
    plane = _Plane(x=(0, 1), y=(0, 1), height=360)
    parts = plane.frame(x_label, y_label)
    rows = []
    for k, (name, found) in enumerate(known.items()):
        style = f"s{k % SERIES}"
        if len(found) > 1:
            parts.append(plane.line([(x.value, y.value) for _, x, y in found], f"join {style}"))
        for place, (label, x, y) in enumerate(found):
            parts += plane.cross(x, y, style, f"{name}, {label}", last=place == len(found) - 1)
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
        self, *, x: tuple[float, float], y: tuple[float, float], height: int = _HEIGHT
    ) -> None:
        self._x = x
        self._y = y
        self._height = height

    def _place(self, x: float, y: float) -> tuple[float, float]:
        inner = (_WIDTH - _LEFT - _RIGHT, self._height - _TOP - _BOTTOM)
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (
            round(_LEFT + inner[0] * min(1.0, max(0.0, across)), 1),
            round(self._height - _BOTTOM - inner[1] * min(1.0, max(0.0, up)), 1),
        )

    def frame(self, x_label: str, y_label: str = "") -> list[str]:
        """Return axes with their numbers."""
        (low_x, high_x), (low_y, high_y) = self._x, self._y
        parts = []
        for k in range(5):
            y = low_y + (high_y - low_y) * k / 4
            left, top = self._place(low_x, y)
            right, _ = self._place(high_x, y)
            parts.append(f'<path class="grid" d="M{left} {top}H{right}"/>')
            parts.append(_text(left - 6, top + 4, _number(y), "end"))
        ticks = (low_x, (low_x + high_x) / 2, high_x)
        for x, anchor in zip(ticks, ("start", "middle", "end"), strict=True):
            left, top = self._place(x, low_y)
            text = _number(x) if high_x <= 1 else f"{x:.0f}"
            parts.append(_text(left, top + 15, text, anchor))
        parts.append(_text(_WIDTH / 2, self._height - 4, x_label, "middle"))
        if y_label:
            parts.append(_text(_LEFT + 8, _TOP + 12, f"up: {y_label}", "start"))
        return parts

    def line(self, found: Points, style: str) -> str:
        """Return a line through points."""
        places = " ".join(f"{a},{b}" for a, b in (self._place(x, y) for x, y in found))
        return f'<polyline class="{style}" points="{places}"/>'

    def cross(self, x: Share, y: Share, style: str, label: str, *, last: bool) -> list[str]:
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
            f'<circle class="{kind} {style}" cx="{left}" cy="{top}" r="5"><title>{tip}</title></circle>'
        )
        return parts

    def svg(self, parts: Sequence[str], label: str) -> str:
        """Return the drawing."""
        box = f'viewBox="0 0 {_WIDTH} {self._height}"'
        return f'<svg {box} role="img" aria-label="{escape(shown(label))}">{"".join(parts)}</svg>'


def values_of(rows: Sequence[Mapping[str, object]], name: str) -> list[float | None]:
    """Return a metric for each step; ``None`` where a row lacks it, or it is no finite number."""
    return [finite(row.get(name)) for row in rows]


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


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    known = [x for x in values if x is not None]
    low, high = min(known), max(known)
    margin = (high - low) * 0.05 or max(abs(high), 1.0) * 0.05
    return (0.0 if low >= 0 else low - margin), high + margin


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(shown(text))}</text>'
