"""The sections of a report, in the order in which they are read."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from redteam_env.evaluation import Rate, Rates, measure
from redteam_env.evaluation.rates import OUTCOMES, difference, one_rate
from redteam_env.page import words
from redteam_env.page.blocks import Block, Lines, Section, Table, finite, interval_of, shown
from redteam_env.page.charts import SERIES, Share, curves, points, undrawn, values_of
from redteam_env.page.diversity import diversity_section
from redteam_env.page.glance import HEADLINE, Ends, ends_of, glance_section
from redteam_env.page.sources import WINDOW, Kind, Source
from redteam_env.page.stored import (
    experiment_section,
    leaderboard_section,
    mapping_of,
    suites_section,
)
from redteam_env.page.stored import league_section as payoffs
from redteam_env.page.tables import HEAT_NOTE, heat, quickstart_tables
from redteam_env.randomness import generator
from redteam_env.report.tables import TITLES, difference_cell, number_cell, rate_cell

OUTCOME_CURVES = {
    "attack success": "game/attack_success",
    "refusal of harmful": "game/harmful_refusal",
    "over-refusal, raw": "game/over_refusal_raw",
    "over-refusal, rewritten": "game/over_refusal_rewritten",
    "label kept": "game/faithfulness",
}
ROLE_CURVES = {
    "Reward": ("reward", False),
    "KL divergence to the base (nats)": ("kl", False),
    "Entropy (nats a token)": ("entropy", False),
    "Turns with a broken format": ("format_violations", True),
    "Forfeited turns": ("forfeits", True),
    "Cut turns": ("truncated", True),
}
ROLES = ("attacker", "defender")
FORM = "game/form_"
POINTS = 5
"""So many stretches of a run become operating points."""
HELD_OUT = "eval/"


def sections(sources: Sequence[Source]) -> list[Section]:
    """Return all sections that there is something for."""
    ends = {source.name: found for source in sources if (found := ends_of(source)) is not None}
    compared, told = _compared(sources)
    every: list[Section | None] = [
        glance_section(sources, ends, told),
        _before_and_after(sources, ends),
        compared,
        suites_section(sources),
        _curves(sources),
        _operating(sources),
        _crossplay(sources),
        _forms(sources),
        diversity_section(sources, ends),
        payoffs(sources),
        leaderboard_section(sources),
        experiment_section(sources),
        _settings(sources),
    ]
    return [section for section in every if section is not None]


def _before_and_after(sources: Sequence[Source], ends: Mapping[str, Ends]) -> Section | None:
    """Return the rates of each source, of runs at both ends."""
    blocks: list[Block] = []
    for source in sources:
        if source.name in ends:
            own = ends[source.name]
            blocks.append(_rates(source.name, dict(zip(own.titles, own.rates, strict=True))))
        elif source.games and source.kind not in {Kind.CROSSPLAY, Kind.SUITES}:
            found = {group.title: measure(group.episodes) for group in source.games}
            blocks.append(_rates(source.name, found, _corrected(source)))
    if not blocks:
        return None
    trained = any(name in ends for name in (source.name for source in sources))
    return Section(
        anchor="rates",
        title="Before and after" if trained else "Rates",
        about=words.TRAINING if trained else "",
        blocks=blocks,
    )


def _rates(
    name: str, found: Mapping[str, Rates], corrected: Mapping[str, str] | None = None
) -> Table:
    shown_rates = [x for x in OUTCOMES if any(getattr(rates, x).n for rates in found.values())]
    rows = [
        [TITLES[x], *(_counted(getattr(rates, x)) for rates in found.values())] for x in shown_rates
    ]
    rows.append(["void games", *(f"{rates.void}/{rates.games}" for rates in found.values())])
    headings = ["rate", *found]
    if corrected:
        headings.append("corrected for the judge's errors")
        for row, rate in zip(rows, [*shown_rates, ""], strict=True):
            row.append(corrected.get(rate, "-"))
    return Table(title=f"{name} [95 % interval], games", headings=headings, rows=rows)


def _corrected(source: Source) -> dict[str, str]:
    """Return the rates of an evaluation that it stored corrected for the judge's errors."""
    if len(source.games) != 1:
        return {}
    stored = mapping_of(mapping_of(source.record.get("result")).get("corrected"))
    cells = {}
    for name, own in stored.items():
        value, ends = finite(mapping_of(own).get("rate")), interval_of(mapping_of(own))
        if value is not None and ends is not None:
            cells[str(name)] = number_cell(value, ends).plain
        else:
            cells[str(name)] = f"none: {shown(mapping_of(own).get('reason', 'not stored'), 80)}"
    return cells


def _counted(rate: Rate) -> str:
    cell = rate_cell(rate).plain
    return f"{cell} {rate.k}/{rate.n}" if rate.n else cell


def _compared(sources: Sequence[Source]) -> tuple[Section | None, list[str]]:
    """Return paired differences of evaluations that played the same games, and what they say."""
    found = [x for x in sources if x.kind is Kind.EVALUATION and len(x.games) == 1]
    if len(found) < 2:
        return None, []
    first, *others = found
    same = [x for x in others if _schedule(x) == _schedule(first)]
    judged = [x for x in same if words.judge_name(x) == words.judge_name(first)]
    if not judged:
        return None, []
    differences = {
        x.name: {
            rate: difference(
                x.games[0].episodes,
                first.games[0].episodes,
                rate,
                generator((0, "bootstrap", rate)),
            )
            for rate in words.READ
        }
        for x in judged
    }
    lines = [
        words.differs(rate, own, (first.name, name))
        for name, rates in differences.items()
        for rate, own in rates.items()
        if own.value is not None and rate in HEADLINE
    ]
    table = Table(
        title=f"Difference to {first.name}, on the same games [95 % interval]",
        headings=["rate", *differences],
        rows=[
            [TITLES[x], *(difference_cell(own[x]).plain for own in differences.values())]
            for x in words.READ
        ],
    )
    return Section(anchor="compared", title="Compared", blocks=[table]), [*lines, words.MANY]


def _schedule(source: Source) -> list[Any]:
    return [(x.path, x.seed, x.rewritten) for x in source.games[0].episodes]


def _curves(sources: Sequence[Source]) -> Section | None:
    runs = [source for source in sources if source.rows]
    if not runs:
        return None
    blocks: list[Block | None] = []
    if missing := [line for run in runs if (line := _undrawn(run))]:
        blocks.append(Lines(lines=missing, title="Not drawn", warning=True))
    if len(runs) == 1:
        own = {title: _outcomes(runs[0], key) for title, key in OUTCOME_CURVES.items()}
        blocks.append(curves("Outcomes of the games of training", own, share=True))
    else:
        for title, key in OUTCOME_CURVES.items():
            own = {run.name: _outcomes(run, key) for run in runs[:SERIES]}
            blocks.append(curves(f"{title[:1].upper()}{title[1:]}", own, share=True))
    for title, (key, share) in ROLE_CURVES.items():
        several = len(runs) > 1
        own = {
            (f"{run.name}, {role}" if several else role): values_of(run.rows, f"{role}/{key}")
            for run in runs[: SERIES // 2]
            for role in ROLES
        }
        blocks.append(curves(f"{title}, by role", own, share=share))
    for run in runs[:SERIES]:
        names = list(dict.fromkeys(x for row in run.rows for x in row if x.startswith(HELD_OUT)))
        own = {shown(name, 60): values_of(run.rows, name) for name in names[:SERIES]}
        blocks.append(curves(f"{run.name}, evaluated while training", own, share=False))
    many = "" if len(runs) <= SERIES // 2 else " Of many runs the first few are drawn."
    return Section(
        anchor="curves",
        title="Curves by role",
        about=f"Thin lines are single steps, thick ones means of up to {WINDOW} steps.{many}",
        blocks=[x for x in blocks if x is not None],
    )


def _undrawn(run: Source) -> str:
    """Return which metrics of a run had no finite value, and at how many steps; nothing if all had one."""
    found = undrawn(run.rows).most_common()
    if not found:
        return ""
    told = [f"{shown(name, 60)} (at {k} of {len(run.rows)} steps)" for name, k in found[:SERIES]]
    more = f" and {len(found) - SERIES} more metrics" * (len(found) > SERIES)
    return f"{run.name}: no finite value of {', '.join(told)}{more}."


def _outcomes(run: Source, key: str) -> list[float | None]:
    """Return a rate for each step: as the run measured it, else of the games that were read."""
    values = values_of(run.rows, key)
    name = key.removeprefix("game/")
    if name not in OUTCOMES or any(x is not None for x in values):
        return values
    for group in run.games:
        if group.step is not None and group.step < len(values):
            values[group.step] = one_rate(name, group.episodes).value
    return values


def _operating(sources: Sequence[Source]) -> Section | None:
    """Return attack success against over-refusal."""
    series: dict[str, list[tuple[str, Share, Share]]] = {}
    for source in sources:
        for name, label, x, y in _points(source):
            series.setdefault(name, []).append((label, x, y))
    figure = points(
        "Operating points",
        series,
        joined={source.name for source in sources if source.kind is Kind.RUN},
        x_label=f"{TITLES['over_refusal_rewritten']}, low is good",
        y_label=f"{TITLES['attack_success']}, low is good",
        note=(
            "Bars are 95 % intervals, each point's own. A run's points are its stretches in order, joined by a "
            "line; the filled one is its last. Other points are pairings. Down and left is better for the defender."
        ),
    )
    if figure is None:
        return None
    return Section(
        anchor="operating",
        title="Operating points",
        about="A defender that refuses more is attacked with less success: the two move along one curve.",
        blocks=[figure],
    )


def _points(source: Source) -> Iterator[tuple[str, str, Share, Share]]:
    """Return of each point the series that it belongs to, what it is called, and both shares."""
    groups = source.games
    if source.kind is Kind.RUN:
        many = min(POINTS, len(groups))
        edges = [k * len(groups) // many for k in range(many + 1)] if groups else []
        stretches = [groups[a:b] for a, b in pairwise(edges)]
    else:
        stretches = [(group,) for group in groups]
    for stretch in stretches:
        episodes = [x for group in stretch for x in group.episodes]
        x, y = (
            _share(one_rate(name, episodes))
            for name in ("over_refusal_rewritten", "attack_success")
        )
        if x is None or y is None:
            continue
        first, last = stretch[0], stretch[-1]
        label = first.title if len(stretch) == 1 else f"{first.title} to {last.title}"
        name = source.name
        if source.kind is Kind.CROSSPLAY:
            name, label = (
                f"{name}: {shown(first.defender, 60)}",
                f"against {shown(first.attacker, 60)}",
            )
        yield name, label, x, y


def _share(rate: Rate) -> Share | None:
    return None if rate.value is None else Share(rate.value, rate.interval)


def _crossplay(sources: Sequence[Source]) -> Section | None:
    blocks: list[Block] = []
    for source in sources:
        if source.kind is Kind.QUICKSTART:
            blocks += quickstart_tables(source)
        if source.kind is not Kind.CROSSPLAY or not source.games:
            continue
        found = {(x.attacker, x.defender): measure(x.episodes) for x in source.games}
        for rate in ("attack_success", "over_refusal_rewritten"):
            own = {pair: getattr(rates, rate) for pair, rates in found.items()}
            blocks.append(heat(f"{source.name}: {TITLES[rate]} [95 % interval]", own))
    if not blocks:
        return None
    return Section(anchor="crossplay", title="Cross-play", about=HEAT_NOTE, blocks=blocks)


def _forms(sources: Sequence[Source]) -> Section | None:
    blocks = []
    for source in sources:
        names = dict.fromkeys(x for row in source.rows for x in row if x.startswith(FORM))
        own = {
            shown(name.removeprefix(FORM), 40): values_of(source.rows, name)
            for name in list(names)[:SERIES]
        }
        blocks.append(
            curves(f"{source.name}: rewrites that hide the name, by form", own, share=True)
        )
    drawn: list[Block] = [x for x in blocks if x is not None]
    if not drawn:
        return None
    return Section(anchor="forms", title="What attackers found", blocks=drawn)


def _settings(sources: Sequence[Source]) -> Section | None:
    """Return what differs between the settings of sources of one kind, and all settings."""
    blocks: list[Block] = []
    kinds = dict.fromkeys(source.kind for source in sources if source.settings)
    for kind in kinds:
        known = [source for source in sources if source.settings and source.kind is kind]
        names = list(dict.fromkeys(name for source in known for name in source.settings))
        rows = [[shown(name, 60), *(_value(x.settings, name) for x in known)] for name in names]
        differing = [row for row in rows if len(set(row[1:])) > 1]
        headings = ["setting", *(source.name for source in known)]
        of = f", {kind}" if len(kinds) > 1 else ""
        if len(known) > 1:
            title = f"What differs: {len(differing)} of {len(rows)} settings{of}"
            blocks.append(Table(title=title, headings=headings, rows=differing))
        blocks += [_departures(x) for x in known if x.departures is not None]
        blocks.append(Table(title=f"All settings{of}", headings=headings, rows=rows))
    if not blocks:
        return None
    return Section(anchor="settings", title="Settings, side by side", blocks=blocks)


def _departures(source: Source) -> Block:
    """Return in which options a run of a recipe differs from it."""
    rows = [
        [shown(name, 60), *(_value(own, side) for side in ("recipe", "run"))]
        for name, own in (source.departures or {}).items()
    ]
    recipe = f"the recipe {_value(source.settings, 'recipe')}"
    if not rows:
        return Lines(lines=[f"{source.name} differs from {recipe} in nothing."])
    title = f"{source.name} differs from {recipe}"
    return Table(title=title, headings=["setting", "recipe", "run"], rows=rows)


def _value(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    return "-" if value is None else shown(value, 120)
