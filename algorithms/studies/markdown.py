"""The Markdown of reports: tables, numbers with intervals, and names that come from plug-ins."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redteam_env.utils.text import escape_controls

_ACTIVE = re.compile(r"[\\`*\[\]<>|~!$&#@]|\b_|_\b|://|www\.|[\r\n]")
"""What Markdown or HTML would read as more than text; an underscore within a word is none."""
_NUMBER = re.compile(r"[+-]?[\d.,]*( \[[\w., +-]+\](, \d+ runs)?)?|---")
"""A number, with its interval."""


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, shown: Callable[[str], str] = str
) -> list[str]:
    """Return the lines of a table.

    Args:
        head: The heading.
        rows: The rows; short ones are filled up.
        shown: How a cell's text is written.
    """
    full = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    lines = [f"| {' | '.join(map(shown, row))} |" for row in (head, *full)]
    return [lines[0], f"|{'---|' * len(head)}", *lines[1:]]


def number(
    value: Mapping[str, Any] | None, *, digits: int = 3, sign: bool = False, none: str = ""
) -> str:
    """Return a number with its interval in brackets; ``-`` where there is none.

    Args:
        value: Its ``mean`` or ``value``, and its ``interval``.
        digits: Digits after the point.
        sign: Whether a plus is written.
        none: What stands in the brackets of a number without an interval; nothing for no brackets.
    """
    if value is None:
        return "-"
    form = f"{'+' if sign else ''}.{digits}f"
    interval = value["interval"]
    shown = none if interval is None else ", ".join(f"{x:{form}}" for x in interval)
    middle = value["mean"] if "mean" in value else value["value"]
    return f"{middle:{form}}" + (f" [{shown}]" if shown else "")


def cell(text: str) -> str:
    """Return a cell's text escaped; numbers with their intervals stand as they are."""
    return text if _NUMBER.fullmatch(text) else plain(text)


def plain(text: str) -> str:
    """Return text as Markdown that shows it and nothing else: no link, no HTML, no other column."""
    return _ACTIVE.sub(lambda x: _entities(x[0]), escape_controls(text))


def _entities(text: str) -> str:
    return " " if text in "\r\n" else "".join(f"&#{ord(char)};" for char in text)


def code(text: str) -> str:
    """Return text as a span of code, whatever it holds."""
    line = escape_controls(text).replace("\n", " ")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"
