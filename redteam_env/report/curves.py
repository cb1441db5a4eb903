"""Curves of a run without a plotting library: in a line of text, and as SVG.

The same curves make the same text, so that a file written again differs only where its numbers do.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from redteam_env.utils.text import escape_controls

Curve = Sequence[float | None]
"""A share for each step, in [0, 1]; ``None`` where there is nothing to measure."""

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-:=+*#"
_COLOURS = ("#d62728", "#1f77b4", "#7f7f7f", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#17becf")
_WIDTH, _HEIGHT = 640, 150
"""Of the area in which one panel's curves are drawn."""
_LEFT, _TOP, _GAP, _RIGHT = 48, 44, 70, 170


def sparkline(curve: Curve, width: int, *, ascii_only: bool = False) -> str:
    """Return a curve as a row of bars, the lowest for 0 and the highest for 1.

    Args:
        curve: The curve; what lies in one column is averaged.
        width: Most columns, at least 1.
        ascii_only: Use characters of ASCII.
    """
    bars = _ASCII_BARS if ascii_only else _BARS
    columns = min(len(curve), width)
    edges = [k * len(curve) // columns for k in range(columns + 1)] if columns else []
    means = [mean(curve[a:b]) for a, b in pairwise(edges)]
    return "".join(
        " " if x is None else bars[min(int(x * len(bars)), len(bars) - 1)] for x in means
    )


def mean(curve: Curve) -> float | None:
    """Return the mean of what was measured; ``None`` if nothing was."""
    known = [x for x in curve if x is not None]
    return sum(known) / len(known) if known else None


def curves_svg(
    panels: Mapping[str, Mapping[str, Curve]],
    x_label: str,
    *,
    runs: Mapping[str, Mapping[str, Sequence[Curve]]] | None = None,
) -> str:
    """Return curves as an SVG image, one panel below the other.

    Args:
        panels: For each title its curves, by name; curves of one name have one colour.
        x_label: What the steps are called.
        runs: For each title, by name, the curves behind a curve that is their mean; they are drawn thin.
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    width = _LEFT + _WIDTH + _RIGHT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for k, (title, curves) in enumerate(panels.items()):
        top = _TOP + k * (_HEIGHT + _GAP)
        thin = (runs or {}).get(title, {})
        parts += _panel(title, curves, thin, colours, top=top, x_label=x_label)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str,
    curves: Mapping[str, Curve],
    runs: Mapping[str, Sequence[Curve]],
    colours: Mapping[str, str],
    *,
    top: int,
    x_label: str,
) -> list[str]:
    steps = max((len(curve) for curve in curves.values()), default=0)
    right, bottom = _LEFT + _WIDTH, top + _HEIGHT
    parts = [_text(_LEFT, top - 12, title, 'font-weight="bold"')]
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * _HEIGHT
        parts.append(f'<path d="M{_LEFT} {y:g}H{right}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{share:g}", 'text-anchor="end"'))
    parts.append(_text(_LEFT, bottom + 16, "1"))
    parts.append(_text(right, bottom + 16, str(steps), 'text-anchor="end"'))
    parts.append(_text(_LEFT + _WIDTH / 2, bottom + 16, x_label, 'text-anchor="middle"'))
    for name, every in runs.items():
        style = f'stroke="{colours[name]}" stroke-width="0.6" stroke-opacity="0.4"'
        parts += [_line(curve, steps, bottom, style) for curve in every]
    for k, (name, curve) in enumerate(curves.items()):
        colour = colours[name]
        width = 2.5 if runs or k == 0 else 1.5
        parts.append(_line(curve, steps, bottom, f'stroke="{colour}" stroke-width="{width}"'))
        y = top + 8 + 16 * k
        parts.append(f'<path d="M{right + 12} {y}h16" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(right + 34, y + 4, name))
    return parts


def _line(curve: Curve, steps: int, bottom: int, style: str) -> str:
    points = [
        f"{_LEFT + _WIDTH * x / max(1, steps - 1):.1f},{bottom - _HEIGHT * y:.1f}"
        for x, y in enumerate(curve)
        if y is not None
    ]
    return f'<polyline points="{" ".join(points)}" fill="none" {style}/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {more}>{escape(escape_controls(text))}</text>'
