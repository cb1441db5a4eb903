"""The leaderboard for a terminal: headline scores, what stands beside them, and verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from algorithms.studies.bench.leaderboard import COMPARED
from algorithms.studies.bench.page import (
    TITLES,
    comparable,
    ladder_lines,
    resolution_line,
    title,
    verdict_lines,
)
from algorithms.studies.bench.scores import (
    ATTACK,
    CAPABILITY,
    DEFENCE,
    DIVERSITY,
    GAP,
    REFUSAL_REWRITTEN,
    TRAIN_ATTACK,
    TRAIN_DEFENCE,
)
from algorithms.studies.markdown import number
from redteam_env.report.tables import judge_line, titled
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text

Figures = Mapping[str, Any]
MOST_VERDICTS = 10
"""Most pairs of a score that a terminal names; the page names all."""
_HEADLINE = {
    "defence": (DEFENCE, True),
    "train": (TRAIN_DEFENCE, False),
    "attack": (ATTACK, True),
    "train ": (TRAIN_ATTACK, False),
}
"""Scores by their heading, and whether their intervals are shown."""
_BESIDE = {
    "over-refusal": REFUSAL_REWRITTEN,
    "capability": CAPABILITY,
    "gap": GAP,
    "diversity": DIVERSITY,
}
_COST = {"tokens": "tokens", "seconds": "seconds"}
_LEAST = {"train": 1, "train ": 2, "seconds": 3, "tokens": 4}
"""The columns that a narrow terminal leaves out, the highest first."""


def terminal(figures: Figures) -> RenderableType:
    """Return the leaderboard for a terminal: the main columns, and as many verdicts as can be read.

    Args:
        figures: The leaderboard.
    """
    run = [x for x in figures["cells"] if x["reason"] is None]
    said = [f"{title(x)} cannot be run: {x['reason']}." for x in figures["cells"] if x["reason"]]
    for name in COMPARED:
        said += [f"{TITLES[name]}: {line}" for line in _told_apart(figures, name)]
    return Group(
        _table("Leaderboard", _HEADLINE, [[title(x), *_headline(x)] for x in run]),
        _table("Beside it", {**_BESIDE, **_COST}, [[title(x), *_beside(x)] for x in run]),
        Text(_about(figures)),
        judge_line(figures["judge"]["name"], figures["judge"]["smoke_only"]),
        *map(safe_text, [*said, *ladder_lines(figures)]),
    )


def _table(heading: str, columns: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> Group:
    least = [Column(heading=x.strip(), drop=_LEAST.get(x, 0)) for x in columns]
    made = FittedTable("cell", *least)
    for row in rows:
        made.row(*row)
    return titled(heading, made)


def _headline(cell: Figures) -> list[str]:
    return [
        _number(cell["scores"].get(name), interval=interval)
        for name, interval in _HEADLINE.values()
    ]


def _beside(cell: Figures) -> list[str]:
    scores = [_number(cell["scores"].get(name), interval=False) for name in _BESIDE.values()]
    return [*scores, *(f"{cell['cost'][name]['mean']:,.0f}" for name in _COST.values())]


def _number(found: Figures | None, *, interval: bool) -> str:
    return number(found if found is None or interval else {**found, "interval": None}, digits=2)


def _told_apart(figures: Figures, name: str) -> list[str]:
    """Return what a score tells apart: the differences that were found, then those that were not."""
    lines = verdict_lines(figures, name)
    more = len(lines) - MOST_VERDICTS
    shown = lines[:MOST_VERDICTS]
    if more > 0:
        shown.append(f"{more} more pairs are in the page leaderboard.md.")
    return [*resolution_line(figures, name), *shown]


def _about(figures: Figures) -> str:
    runs = max((x["runs"] for c in figures["cells"] for x in c["scores"].values()), default=0)
    return (
        f"Interquartile mean over runs and tasks [95 % bootstrap over {runs} training seeds]; defence and "
        "attack are about held-out substances, beside them about those of training. Over-refusal is of rewritten requests, gap what the best "
        "attacker found gains over the one trained with (a lower bound). Tokens and seconds are of one run. "
        f"{figures['games']:,} games and answers, {figures['void']} void. {comparable(figures)}"
    )
