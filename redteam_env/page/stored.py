"""Sections of what other commands measured and stored: leaderboards, suites, claims, and leagues."""

from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.page.blocks import Block, Lines, Section, Table, finite, shown, stored_cell
from redteam_env.page.sources import Kind, Source
from redteam_env.page.tables import payoff

METRICS = ("success", "compliance", "refusal", "graded")


def leaderboard_section(sources: Sequence[Source]) -> Section | None:
    """Return leaderboards, in the order in which ``bench`` ranked them."""
    blocks: list[Block] = []
    for source in sources:
        cells = source.record.get("cells") if source.kind is Kind.BENCH else None
        found = [x for x in _list(cells) if isinstance(x, Mapping)]
        if not found:
            continue
        scores = list(dict.fromkeys(name for x in found for name in _mapping(x.get("scores"))))
        rows = [
            [_cell_name(x), *(stored_cell(_mapping(x.get("scores")).get(name)) for name in scores)]
            for x in found
        ]
        title = f"{source.name}: means over runs [95 % interval]"
        headings = ["cell", *(shown(name, 40).replace("_", " ") for name in scores)]
        blocks.append(Table(title=title, headings=headings, rows=rows))
        games, void = source.record.get("games"), source.record.get("void")
        if isinstance(games, int) and isinstance(void, int):
            told = f"{games:,} games and answers, {void:,} void."
            blocks.append(Lines(lines=[f"{told} leaderboard.md says what each column is."]))
    return _section("leaderboard", "Leaderboard", blocks)


def suites_section(sources: Sequence[Source]) -> Section | None:
    """Return what defenders did on benchmark suites."""
    blocks: list[Block] = []
    for source in sources:
        found = source.record.get("result") if source.kind is Kind.SUITES else None
        rows = [
            [f"{shown(suite.get('title'), 80)} ({shown(row.get('label'), 20)})", *_figures(row)]
            for suite in _list(found)
            if isinstance(suite, Mapping)
            for row in _list(suite.get("rows"))
            if isinstance(row, Mapping)
        ]
        if rows:
            headings = ["suite", "requests", *METRICS]
            title = f"{source.name} [95 % interval]"
            blocks.append(Table(title=title, headings=headings, rows=rows))
    return _section("suites", "Benchmark suites", blocks)


def experiment_section(sources: Sequence[Source]) -> Section | None:
    """Return the claims of experiments with their verdicts, and the arms of each part."""
    blocks: list[Block] = []
    for source in sources:
        if source.kind is not Kind.EXPERIMENT:
            continue
        rows = [
            [shown(name, 60).replace("_", " "), *_claim(own)]
            for name, own in source.record.items()
            if isinstance(own, Mapping)
        ]
        if rows:
            headings = ["claim", "text", "contrast", "value", "runs", "p, Holm", "verdict"]
            title = f"{source.name}: claims [95 % interval]"
            blocks.append(Table(title=title, headings=headings, rows=rows))
        blocks += [
            table
            for part, figures in source.parts.items()
            for table in _part(f"{source.name}, {shown(part, 60)}", figures)
        ]
    return _section("experiment", "Experiment", blocks)


def league_section(sources: Sequence[Source]) -> Section | None:
    """Return the pay-offs of leagues, and how their opponents are mixed."""
    blocks: list[Block] = []
    for source in sources:
        state = _mapping(_mapping(source.league).get("state"))
        sides = [_texts(state.get(name)) for name in ("attackers", "defenders")]
        for role in ("attacker", "defender"):
            values = _mapping(state.get("payoffs")).get(role)
            title = f"{source.name}: pay-off of the {role}; rows attack, columns defend"
            if (table := payoff(title, sides[0], sides[1], values)) is not None:
                blocks.append(table)
        meta = _mapping(state.get("meta"))
        rows = [
            [name, f"{value:.3f}"]
            for side, role in zip(sides, ("attacker", "defender"), strict=True)
            for name, weight in zip(side, _list(meta.get(role)), strict=False)
            if (value := finite(weight)) is not None
        ]
        if rows:
            title = f"{source.name}: share of games against each frozen version"
            blocks.append(Table(title=title, headings=["version", "share"], rows=rows))
    return _section("league", "League", blocks)


def _section(anchor: str, title: str, blocks: Sequence[Block]) -> Section | None:
    return Section(anchor=anchor, title=title, blocks=blocks) if blocks else None


def _cell_name(cell: Mapping[str, Any]) -> str:
    arrangement = cell.get("arrangement")
    told = f", {shown(arrangement, 40)}" if arrangement not in (None, "", cell.get("label")) else ""
    untrained = "" if cell.get("trained", True) else " (untrained)"
    return f"{shown(cell.get('label'), 60)}{told}{untrained}"


def _figures(row: Mapping[str, Any]) -> list[str]:
    figures = _mapping(row.get("figures"))
    own = row.get("own_metric")
    cells = [f"{stored_cell(figures.get(x))}{'*' if x == own else ''}" for x in METRICS]
    return [shown(row.get("requests"), 20), *cells]


def _claim(own: Mapping[str, Any]) -> list[str]:
    p = finite(own.get("p_holm"))
    return [
        shown(own.get("text", "-")),
        shown(f"{own.get('measure')}: {own.get('contrast')}", 120),
        stored_cell(own),
        shown(own.get("runs", "-"), 20),
        "-" if p is None else f"{p:.3f}",
        shown(own.get("verdict", "-"), 40),
    ]


def _part(title: str, figures: Mapping[str, Any]) -> list[Table]:
    """Return the primary measures of a part's arms, a table for each split of the seeds."""
    tables = []
    for split, found in _mapping(_mapping(figures.get("defenders")).get("splits")).items():
        measures = _mapping(_mapping(found).get("primary"))
        arms = list(dict.fromkeys(arm for own in measures.values() for arm in _mapping(own)))
        rows = [
            [shown(arm, 60), *(stored_cell(_mapping(own).get(arm)) for own in measures.values())]
            for arm in arms
        ]
        if rows:
            headings = ["arm", *(shown(x, 40).replace("_", " ") for x in measures)]
            name = f"{title}, {shown(split, 20)} seeds: means over runs [95 % interval]"
            tables.append(Table(title=name, headings=headings, rows=rows))
    return tables


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [shown(x, 60) for x in _list(value)]
