"""Sections of what other commands measured and stored: leaderboards, suites, claims, and leagues."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redteam_env.page.blocks import (
    NOTHING,
    Block,
    Lines,
    Section,
    Table,
    finite,
    shown,
    stored_cell,
)
from redteam_env.page.sources import Kind, Source
from redteam_env.page.tables import payoff

SUITE_METRICS = {
    "success": "harm-based success",
    "compliance": "compliance",
    "refusal": "refusal",
    "graded": "graded harm",
}
"""What the metrics of suites are called."""
MOST_VERSIONS = 12
OWN = "* the suite's own metric, which its authors report"


def leaderboard_section(sources: Sequence[Source]) -> Section | None:
    """Return leaderboards, in the order in which ``bench`` ranked them."""
    blocks: list[Block] = []
    for source in sources:
        cells = source.record.get("cells") if source.kind is Kind.BENCH else None
        found = [x for x in list_of(cells) if isinstance(x, Mapping)]
        if not found:
            continue
        scores = list(dict.fromkeys(name for x in found for name in mapping_of(x.get("scores"))))
        rows = [
            [
                _cell_name(x),
                *(stored_cell(mapping_of(x.get("scores")).get(name)) for name in scores),
            ]
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


def suite_rows(source: Source) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each suite that a source stores with each of its rows."""
    found = source.record.get("result") if source.kind is Kind.SUITES else None
    for suite in list_of(found):
        for row in list_of(mapping_of(suite).get("rows")):
            if isinstance(row, Mapping):
                yield suite, row


def suites_section(sources: Sequence[Source]) -> Section | None:
    """Return what defenders did on benchmark suites, and what attacks on them came to and cost."""
    blocks: list[Block] = []
    notes: list[str] = []
    for source in sources:
        found = list(suite_rows(source))
        if not found:
            continue
        attacked = any(mapping_of(suite).get("attacked") for suite, _ in found)
        rows = [[_suite(suite, row), *_figures(row)] for suite, row in found]
        best = ", each request's best attempt" if attacked else ""
        headings = ["suite", "requests", *SUITE_METRICS.values()]
        title = f"{source.name}{best} [95 % interval]"
        blocks.append(Table(title=title, headings=headings, rows=rows, note=OWN))
        notes += [line for suite, row in found for line in _notes(suite, row)]
        if (table := _attacks(source)) is not None:
            blocks.append(table)
    if notes:
        blocks.append(Lines(lines=list(dict.fromkeys(notes))))
    return _section("suites", "Benchmark suites", blocks)


def _notes(suite: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """Return why the own metric of a suite has no value, and which figures are of some answers only."""
    own, answers = row.get("own_metric"), finite(row.get("answers"))
    for name, title in SUITE_METRICS.items():
        figure = mapping_of(mapping_of(row.get("figures")).get(name))
        known = finite(figure.get("answers"))
        if name == own and finite(figure.get("value")) is None:
            reason = shown(figure.get("reason", "no answer has a verdict"))
            yield f"{_suite(suite, row)}, {title}: none, because {reason}."
        elif known and answers and known < answers:
            yield f"{_suite(suite, row)}, {title}: of {known:.0f} of {answers:.0f} answers."


def _suite(suite: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return f"{shown(suite.get('title'), 80)} ({shown(row.get('label'), 20)})"


def _attacks(source: Source) -> Table | None:
    """Return how success grew with the attempts of an attack, and what these cost."""
    rows = []
    for suite in list_of(source.record.get("result")):
        found = mapping_of(mapping_of(suite).get("attacked"))
        within = [x for x in list_of(found.get("success_within")) if isinstance(x, Mapping)]
        if not within:
            continue
        queries = mapping_of(found.get("queries"))
        asked = [shown(queries.get(x, "-"), 20) for x in ("target", "attacker", "judge")]
        name = f"{shown(mapping_of(suite).get('title'), 80)}, {shown(found.get('attack'), 60)}"
        rates = [stored_cell(within[0]), stored_cell(within[-1])]
        rows.append([name, str(len(within)), *rates, *asked])
    if not rows:
        return None
    headings = ["suite, attack", "most attempts", "success within 1", "success within all"]
    costs = [f"queries to the {x}" for x in ("defender", "attacker", "judge")]
    return Table(
        title=f"{source.name}: what the attack came to [95 % interval], and its queries",
        headings=[*headings, *costs],
        rows=rows,
    )


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
    """Return the pay-offs of leagues, how their opponents are mixed, and which frozen versions they keep."""
    blocks: list[Block] = []
    for source in sources:
        state = mapping_of(mapping_of(source.league).get("state"))
        sides = [_texts(state.get(name)) for name in ("attackers", "defenders")]
        for role in ("attacker", "defender"):
            values = mapping_of(state.get("payoffs")).get(role)
            title = f"{source.name}: mean reward of the {role}; rows attack, columns defend"
            if (table := payoff(title, sides[0], sides[1], values)) is not None:
                blocks.append(table)
        meta = mapping_of(state.get("meta"))
        rows = [
            [f"{role}: {name}", f"{value:.3f}"]
            for side, role in zip(sides, ("attacker", "defender"), strict=True)
            for name, weight in zip(side, list_of(meta.get(role)), strict=False)
            if (value := finite(weight)) is not None
        ]
        if rows:
            title = f"{source.name}: share of games against each frozen version"
            blocks.append(Table(title=title, headings=["version", "share"], rows=rows))
        kept = [shown(x, 60) for x in mapping_of(mapping_of(source.league).get("versions"))]
        if kept:
            name = shown(mapping_of(source.league).get("opponents"), 60)
            more = f" and {len(kept) - MOST_VERSIONS} more" if len(kept) > MOST_VERSIONS else ""
            told = f"opponents by {name}; frozen versions kept: {', '.join(kept[:MOST_VERSIONS])}{more}"
            pays = "" if mapping_of(state.get("payoffs")) else ". It measures no pay-offs"
            blocks.append(Lines(lines=[f"{source.name}: {told}{pays}."]))
    return _section("league", "League", blocks)


def _section(anchor: str, title: str, blocks: Sequence[Block]) -> Section | None:
    return Section(anchor=anchor, title=title, blocks=blocks) if blocks else None


def _cell_name(cell: Mapping[str, Any]) -> str:
    arrangement = cell.get("arrangement")
    told = f", {shown(arrangement, 40)}" if arrangement not in (None, "", cell.get("label")) else ""
    untrained = "" if cell.get("trained", True) else " (untrained)"
    return f"{shown(cell.get('label'), 60)}{told}{untrained}"


def _figures(row: Mapping[str, Any]) -> list[str]:
    figures = mapping_of(row.get("figures"))
    own = row.get("own_metric")
    cells = [
        f"{'none' if (cell := stored_cell(figures.get(x))) == NOTHING and x == own else cell}"
        f"{'*' if x == own else ''}"
        for x in SUITE_METRICS
    ]
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
    for split, found in mapping_of(mapping_of(figures.get("defenders")).get("splits")).items():
        measures = mapping_of(mapping_of(found).get("primary"))
        arms = list(dict.fromkeys(arm for own in measures.values() for arm in mapping_of(own)))
        rows = [
            [shown(arm, 60), *(stored_cell(mapping_of(own).get(arm)) for own in measures.values())]
            for arm in arms
        ]
        if rows:
            headings = ["arm", *(shown(x, 40).replace("_", " ") for x in measures)]
            name = f"{title}, {shown(split, 20)} seeds: means over runs [95 % interval]"
            tables.append(Table(title=name, headings=headings, rows=rows))
    return tables


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return a JSON object of a file; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Any]:
    """Return a JSON array of a file; an empty one for anything else."""
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [shown(x, 60) for x in list_of(value)]
