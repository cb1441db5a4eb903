"""Tables of all against all, whose cells are shaded by their rate."""

from collections.abc import Mapping

from redteam_env.evaluation import Rate
from redteam_env.page.blocks import Block, Lines, Table, finite, shown, stored_rate
from redteam_env.page.sources import Source
from redteam_env.report import rate_cell

HEAT_NOTE = "Rows attack, columns defend; the stronger a cell's colour, the higher its rate."
SHADES = 10
LONGEST_NAME = 60


def heat(title: str, cells: Mapping[tuple[str, str], Rate]) -> Table:
    """Return a table of rates.

    Args:
        title: What it shows.
        cells: The rate of each attacker against each defender.
    """
    attackers = list(dict.fromkeys(a for a, _ in cells))
    defenders = list(dict.fromkeys(d for _, d in cells))
    rows, shades = [], []
    for attacker in attackers:
        found = [cells.get((attacker, defender)) for defender in defenders]
        rows.append(
            [
                shown(attacker, LONGEST_NAME),
                *("-" if x is None else rate_cell(x).plain for x in found),
            ]
        )
        shades.append([None, *(_shade(None if x is None else x.value, 0, 1) for x in found)])
    return Table(
        title=title,
        headings=["attacker \\ defender", *(shown(x, LONGEST_NAME) for x in defenders)],
        rows=rows,
        shades=shades,
    )


def payoff(title: str, rows: list[str], columns: list[str], values: object) -> Table | None:
    """Return a table of pay-offs, shaded from the lowest to the highest; ``None`` for anything else.

    Args:
        title: What it shows.
        rows: Names of the rows.
        columns: Names of the columns.
        values: A list of rows of numbers, as a league stores it.
    """
    if not isinstance(values, list) or len(values) != len(rows):
        return None
    found = [[finite(x) for x in row] if isinstance(row, list) else [] for row in values]
    if any(len(row) != len(columns) for row in found):
        return None
    known = [x for row in found for x in row if x is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    return Table(
        title=title,
        headings=["", *(shown(x, LONGEST_NAME) for x in columns)],
        rows=[
            [shown(name, LONGEST_NAME), *("-" if x is None else f"{x:+.2f}" for x in row)]
            for name, row in zip(rows, found, strict=True)
        ],
        shades=[[None, *(_shade(x, low, high) for x in row)] for row in found],
        note="The stronger a cell's colour, the higher the reward, from the lowest of the table to its highest.",
    )


def quickstart_tables(source: Source) -> list[Block]:
    """Return the cross-play of a quickstart, with the rates that it stored."""
    cells = source.record.get("cells")
    about = source.record.get("rates")
    found: dict[str, dict[tuple[str, str], Rate]] = {}
    for cell in cells if isinstance(cells, list) else []:
        if not isinstance(cell, Mapping):
            continue
        pair = shown(cell.get("attacker"), LONGEST_NAME), shown(cell.get("defender"), LONGEST_NAME)
        for name, own in cell.items():
            if (rate := stored_rate(own)) is not None:
                found.setdefault(str(name), {})[pair] = rate
    blocks: list[Block] = []
    for name, own in found.items():
        told = about.get(name) if isinstance(about, Mapping) else None
        blocks.append(heat(f"{source.name}: {shown(name, 60)} [95 % interval]", own))
        if isinstance(told, str):
            blocks.append(Lines(lines=[f"{shown(name, 60)}: {shown(told)}."]))
    if isinstance(reading := source.record.get("reading"), str):
        blocks.append(Lines(lines=[shown(reading, 600)]))
    return blocks


def _shade(value: float | None, low: float, high: float) -> int | None:
    if value is None:
        return None
    return round(SHADES * (value - low) / (high - low)) if high > low else 0
