"""What a section of the page is made of; the template shows each kind in its own way.

Every text in a block may come from a stranger: the template escapes it, and spells control characters out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redteam_env.evaluation import Interval, Rate
from redteam_env.report.tables import number_cell, rate_cell
from redteam_env.utils.text import escape_controls

LONGEST = 300
NOTHING = "-"
MOST_COUNTED = 10**12
"""A file that says more games were played is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Sentences, a paragraph each; those that warn stand out.

    Attributes:
        lines: The sentences.
        title: What they are about; empty for none.
        warning: Whether they warn.
    """

    lines: Sequence[str]
    title: str = ""
    warning: bool = False
    kind: str = "lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        title: Its caption.
        headings: Of each column.
        rows: Cells, as wide as the headings.
        shades: For each row the shade of each cell, 0 to 10 or ``None``; empty for none at all.
        note: What is to be known to read it.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    shades: Sequence[Sequence[int | None]] = ()
    note: str = ""
    kind: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart, with its numbers in a table for those who do not see it.

    Attributes:
        title: What it shows.
        svg: The drawing; it holds no text of a stranger that is not escaped.
        legend: The names of its series, in order.
        numbers: The numbers.
        note: What is to be known to read it.
    """

    title: str
    svg: str
    legend: Sequence[str]
    numbers: Table
    note: str = ""
    kind: str = "figure"


Block = Lines | Table | Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    anchor: str
    title: str
    about: str = ""
    blocks: Sequence[Block] = field(default_factory=tuple)


def shown(value: Any, most: int = LONGEST) -> str:
    """Return a value of a stranger's file as a short text, with control characters spelled out."""
    text = escape_controls(str(value)[: most + 1])
    return text if len(text) <= most else f"{text[:most]} ..."


def finite(value: Any) -> float | None:
    """Return a number of a stranger's file; ``None`` for anything else, NaN and infinity among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        own = float(value)
    except OverflowError:
        return None
    return own if math.isfinite(own) else None


def stored_rate(record: Any) -> Rate | None:
    """Return the rate that a file stores as ``k`` of ``n``; ``None`` if it stores none."""
    if not isinstance(record, Mapping):
        return None
    k, n = record.get("k"), record.get("n")
    if type(k) is not int or type(n) is not int or not 0 <= k <= n <= MOST_COUNTED:
        return None
    return Rate(k=k, n=n)


def stored_cell(record: Any) -> str:
    """Return a number that a file stores with its interval, whatever it is called there."""
    # of answers that come in clusters, the interval of k of n alone would be too narrow
    if "effective" not in _named(record) and (rate := stored_rate(record)) is not None:
        return rate_cell(rate).plain
    if not isinstance(record, Mapping):
        own = finite(record)
        return NOTHING if own is None else f"{own:.2f}"
    value = next((x for x in map(finite, _values(record)) if x is not None), None)
    if value is None:
        return NOTHING
    ends = interval_of(record)
    return f"{value:.2f}" if ends is None else number_cell(value, ends).plain


def interval_of(record: Mapping[str, Any]) -> Interval | None:
    """Return the interval that a file stores; ``None`` if it stores none."""
    ends = record.get("interval")
    if not isinstance(ends, list) or len(ends) != 2:
        return None
    low, high = map(finite, ends)
    return None if low is None or high is None else Interval(low, high)


def _named(record: Any) -> Mapping[str, Any]:
    return record if isinstance(record, Mapping) else {}


def _values(record: Mapping[str, Any]) -> list[Any]:
    return [record.get(name) for name in ("value", "mean", "rate", "difference")]
