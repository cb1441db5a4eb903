"""The sections of a report, in the order in which they are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from redteam_env.evaluation import Rate, Rates, measure
from redteam_env.evaluation.rates import OUTCOMES, difference
from redteam_env.evaluation.rewrites import Variety, variety
from redteam_env.game import Episode
from redteam_env.page import words
from redteam_env.page.blocks import Block, Lines, Section, Table, shown
from redteam_env.page.charts import SERIES, Share, curves, points, values_of
from redteam_env.page.sources import WINDOW, Kind, Source
from redteam_env.page.stored import experiment_section, leaderboard_section, suites_section
from redteam_env.page.stored import league_section as payoffs
from redteam_env.page.tables import HEAT_NOTE, heat, quickstart_tables
from redteam_env.randomness import generator
from redteam_env.report.tables import TITLES, difference_cell, rate_cell

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
HEADLINE = ("attack_success", "over_refusal_rewritten")
"""The rates of the first screen."""
POINTS = 5
"""So many stretches of a run become operating points."""
HELD_OUT = "eval/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The first and the last games of a run.

    Attributes:
        titles: What they are called.
        rates: Of each.
        episodes: Of each.
    """

    titles: tuple[str, str]
    rates: tuple[Rates, Rates]
    episodes: tuple[list[Episode], list[Episode]]


def sections(sources: Sequence[Source]) -> list[Section]:
    """Return all sections that there is something for."""
    ends = {source.name: found for source in sources if (found := _ends(source)) is not None}
    every: list[Section | None] = [
        _glance(sources, ends),
        _before_and_after(sources, ends),
        _compared(sources),
        _curves(sources),
        _operating(sources),
        _crossplay(sources),
        _forms(sources),
        _diversity(sources, ends),
        payoffs(sources),
        leaderboard_section(sources),
        suites_section(sources),
        experiment_section(sources),
        _settings(sources),
    ]
    return [section for section in every if section is not None]


def _ends(source: Source) -> Ends | None:
    groups = [x for x in source.games if x.step is not None]
    if len(groups) < 2:
        return None
    many = min(WINDOW, len(groups) // 2)
    first, last = groups[:many], groups[-many:]
    sides = [[x for group in side for x in group.episodes] for side in (first, last)]
    titles = (_steps("the first", first), _steps("the last", last))
    return Ends(
        titles=titles,
        rates=(measure(sides[0]), measure(sides[1])),
        episodes=(sides[0], sides[1]),
    )


def _steps(which: str, groups: Sequence[Any]) -> str:
    return f"{which} step" if len(groups) == 1 else f"{which} {len(groups)} steps"


def _glance(sources: Sequence[Source], ends: Mapping[str, Ends]) -> Section:
    """Return the first screen: what it is, the reading, and what to beware of."""
    measured = {source.name: measure(source.episodes) for source in sources if source.games}
    warnings = [
        f"{source.name}: the judge {words.judge_name(source)} is for smoke runs only, its numbers are not to be reported."
        for source in sources
        if words.smoke_only(source)
    ]
    warnings += [
        f"{words.lost(name, rates)} The rates are about the others."
        for name, rates in measured.items()
        if words.too_many_lost(rates)
    ]
    warnings += [f"{source.name}: {note}" for source in sources for note in source.notes]
    blocks: list[Block] = [Lines(lines=[words.what(source) for source in sources])]
    if warnings:
        blocks.append(Lines(lines=warnings, warning=True))
    if ends:
        blocks.append(_headline(ends))
    reading = [line for source in sources for line in _reading(source, ends)]
    if any(source.kind is Kind.RUN for source in sources):
        reading.append(words.ONE_RUN)
    if measured:
        reading.append(words.TOGETHER)
    if reading:
        blocks.append(Lines(lines=reading))
    blocks.append(_facts(sources, measured))
    return Section(anchor="glance", title="At a glance", blocks=blocks)


def _headline(ends: Mapping[str, Ends]) -> Table:
    """Return the two rates to look at first, of each run at both ends."""
    headings = [f"{TITLES[rate]}, {end}" for rate in HEADLINE for end in ("first", "last")]
    rows = [
        [name, *(rate_cell(getattr(x, rate)).plain for rate in HEADLINE for x in own.rates)]
        for name, own in ends.items()
    ]
    return Table(
        title="The first and the last games of training [95 % interval]",
        headings=["run", *headings],
        rows=rows,
    )


def _reading(source: Source, ends: Mapping[str, Ends]) -> Iterator[str]:
    """Return what the numbers of a source say, in words."""
    if source.name in ends:
        own = ends[source.name]
        before, after = own.rates
        for rate in HEADLINE:
            pair = getattr(before, rate), getattr(after, rate)
            if pair[0].n and pair[1].n:
                yield f"{source.name}, {words.moved(rate, *pair, own.titles)}"
    races = source.record.get("races") if source.kind is Kind.QUICKSTART else None
    if isinstance(races, Mapping):
        for name, race in races.items():
            if isinstance(race, Mapping) and isinstance(race.get("sentence"), str):
                yield f"{shown(name, 60)}: {shown(race['sentence'])}"
    claims = source.record.items() if source.kind is Kind.EXPERIMENT else ()
    told = [shown(x.get("verdict"), 40) for _, x in claims if isinstance(x, Mapping)]
    if told:
        counted = ", ".join(f"{told.count(x)} {x}" for x in dict.fromkeys(told))
        yield f"{source.name}: of {len(told)} claims, {counted}."


def _facts(sources: Sequence[Source], measured: Mapping[str, Rates]) -> Table:
    rows: dict[str, Callable[[Source], str]] = {
        "what": lambda x: str(x.kind),
        "trained": lambda x: _setting(x, "algorithm"),
        "weights": lambda x: _setting(x, "arrangement"),
        "model": lambda x: _setting(x, "model"),
        "seeds": lambda x: _setting(x, "seeds"),
        "opponents": lambda x: _setting(x, "opponents"),
        "steps": lambda x: (
            f"{len(x.rows)} of {_setting(x, 'steps')}" if x.kind is Kind.RUN else "-"
        ),
        "judge": words.judge_name,
        "judge's calibration": lambda x: "; ".join(words.calibration(x)),
        "games in this report": lambda x: f"{measured[x.name].games:,}" if x.games else "none",
        "void or forfeited": lambda x: _lost(measured.get(x.name)),
        "version": lambda x: _version(x.record),
        "written": lambda x: shown(x.record.get("written", "-"), 40),
    }
    cells = {title: [of(source) for source in sources] for title, of in rows.items()}
    return Table(
        title="What was trained and measured",
        headings=["", *(source.name for source in sources)],
        rows=[[title, *row] for title, row in cells.items() if set(row) != {"-"}],
    )


def _setting(source: Source, name: str) -> str:
    value = source.settings.get(name)
    return "-" if value is None or value == "" else shown(value, 120)


def _lost(rates: Rates | None) -> str:
    if rates is None or not rates.games:
        return "-"
    return f"{rates.lost} of {rates.games} ({rates.lost / rates.games:.1%})"


def _version(record: Mapping[str, Any]) -> str:
    versions = record.get("versions")
    own = versions.get("redteam-env") if isinstance(versions, Mapping) else record.get("version")
    return "-" if own is None else shown(own, 40)


def _before_and_after(sources: Sequence[Source], ends: Mapping[str, Ends]) -> Section | None:
    """Return the rates of each source, of runs at both ends."""
    blocks: list[Block] = []
    for source in sources:
        if source.name in ends:
            own = ends[source.name]
            blocks.append(_rates(source.name, dict(zip(own.titles, own.rates, strict=True))))
        elif source.games and source.kind not in {Kind.CROSSPLAY, Kind.SUITES}:
            found = {group.title: measure(group.episodes) for group in source.games}
            blocks.append(_rates(source.name, found))
    if not blocks:
        return None
    trained = any(name in ends for name in (source.name for source in sources))
    return Section(
        anchor="rates",
        title="Before and after" if trained else "Rates",
        about=words.TRAINING if trained else "",
        blocks=blocks,
    )


def _rates(name: str, found: Mapping[str, Rates]) -> Table:
    shown_rates = [x for x in OUTCOMES if any(getattr(rates, x).n for rates in found.values())]
    rows = [
        [TITLES[x], *(_counted(getattr(rates, x)) for rates in found.values())] for x in shown_rates
    ]
    rows.append(["void games", *(f"{rates.void}/{rates.games}" for rates in found.values())])
    return Table(title=f"{name} [95 % interval], games", headings=["rate", *found], rows=rows)


def _counted(rate: Rate) -> str:
    cell = rate_cell(rate).plain
    return f"{cell} {rate.k}/{rate.n}" if rate.n else cell


def _compared(sources: Sequence[Source]) -> Section | None:
    """Return paired differences of evaluations that played the same games."""
    found = [x for x in sources if x.kind is Kind.EVALUATION and len(x.games) == 1]
    if len(found) < 2:
        return None
    first, *others = found
    same = [x for x in others if _schedule(x) == _schedule(first)]
    judged = [x for x in same if words.judge_name(x) == words.judge_name(first)]
    if not judged:
        return None
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
        if own.value is not None
    ]
    table = Table(
        title=f"Difference to {first.name}, on the same games [95 % interval]",
        headings=["rate", *differences],
        rows=[
            [TITLES[x], *(difference_cell(own[x]).plain for own in differences.values())]
            for x in words.READ
        ],
    )
    return Section(anchor="compared", title="Compared", blocks=[Lines(lines=lines), table])


def _schedule(source: Source) -> list[Any]:
    return [(x.path, x.seed, x.rewritten) for x in source.games[0].episodes]


def _curves(sources: Sequence[Source]) -> Section | None:
    runs = [source for source in sources if source.rows]
    if not runs:
        return None
    blocks: list[Block | None] = []
    if len(runs) == 1:
        own = {title: values_of(runs[0].rows, key) for title, key in OUTCOME_CURVES.items()}
        blocks.append(curves("Outcomes of the games of training", own, share=True))
    else:
        for title, key in OUTCOME_CURVES.items():
            own = {run.name: values_of(run.rows, key) for run in runs[:SERIES]}
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


def _operating(sources: Sequence[Source]) -> Section | None:
    """Return attack success against over-refusal."""
    series = {source.name: list(_points(source)) for source in sources if source.games}
    figure = points(
        "Operating points",
        {name: found for name, found in series.items() if found},
        x_label=f"{TITLES['over_refusal_rewritten']}, low is good",
        y_label=f"{TITLES['attack_success']}, low is good",
        note=(
            "Bars are 95 % intervals, each point's own. A run's points are its stretches in order; the filled one "
            "is its last. Down and left is better for the defender."
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


def _points(source: Source) -> Iterator[tuple[str, Share, Share]]:
    groups = source.games
    if source.kind is Kind.RUN:
        many = min(POINTS, len(groups))
        edges = [k * len(groups) // many for k in range(many + 1)]
        stretches = [groups[a:b] for a, b in pairwise(edges)]
    else:
        stretches = [(group,) for group in groups]
    for stretch in stretches:
        rates = measure([x for group in stretch for x in group.episodes])
        x, y = _share(rates.over_refusal_rewritten), _share(rates.attack_success)
        if x is not None and y is not None:
            ends = stretch[0].title, stretch[-1].title
            label = ends[0] if len(stretch) == 1 else f"{ends[0]} to {ends[1]}"
            if source.kind is Kind.CROSSPLAY:
                label = f"{stretch[0].attacker} against {stretch[0].defender}"
            yield label, x, y


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


def _diversity(sources: Sequence[Source], ends: Mapping[str, Ends]) -> Section | None:
    blocks: list[Block | None] = []
    for source in sources:
        if source.name in ends:
            own = ends[source.name]
            found = {
                title: variety(episodes)
                for title, episodes in zip(own.titles, own.episodes, strict=True)
            }
        elif source.kind is Kind.EVALUATION:
            found = {group.title: variety(group.episodes) for group in source.games}
        else:
            continue
        blocks.append(_variety(source.name, {k: x for k, x in found.items() if x is not None}))
        novelty = {"attacker": values_of(source.rows, "attacker/novelty")}
        blocks.append(curves(f"{source.name}: novelty of rewrites", novelty, share=False))
    drawn = [x for x in blocks if x is not None]
    if not drawn:
        return None
    about = "Few different words or many near duplicates tell of an attacker that has collapsed."
    return Section(anchor="diversity", title="Diversity of rewrites", about=about, blocks=drawn)


def _variety(name: str, found: Mapping[str, Variety]) -> Table | None:
    if not found:
        return None
    measures: dict[str, Callable[[Variety], str]] = {
        "rewrites compared": lambda x: f"{x.rewrites:,}",
        "distinct words": lambda x: f"{x.distinct_1:.3f}",
        "distinct word pairs": lambda x: f"{x.distinct_2:.3f}",
        "near duplicates": lambda x: f"{x.near_duplicates:.3f}",
        "self-BLEU (low is varied)": lambda x: "-" if x.self_bleu is None else f"{x.self_bleu:.3f}",
    }
    rows = [[title, *map(of, found.values())] for title, of in measures.items()]
    return Table(title=name, headings=["measure", *found], rows=rows)


def _settings(sources: Sequence[Source]) -> Section | None:
    """Return what differs between the settings of several sources, and all settings of one."""
    known = [source for source in sources if source.settings]
    if not known:
        return None
    names = list(dict.fromkeys(name for source in known for name in source.settings))
    rows = [[shown(name, 60), *(_value(x.settings, name) for x in known)] for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    headings = ["setting", *(source.name for source in known)]
    blocks: list[Block] = []
    if len(known) > 1:
        title = f"What differs: {len(differing)} of {len(rows)} settings"
        blocks.append(Table(title=title, headings=headings, rows=differing))
    blocks += [_departures(x) for x in known if x.departures is not None]
    blocks.append(Table(title="All settings", headings=headings, rows=rows))
    return Section(anchor="settings", title="Settings, side by side", blocks=blocks)


def _departures(source: Source) -> Block:
    """Return in which options a run of a recipe differs from it."""
    rows = [
        [shown(name, 60), *(_value(own, side) for side in ("recipe", "run"))]
        for name, own in (source.departures or {}).items()
    ]
    recipe = f"the recipe {_setting(source, 'recipe')}"
    if not rows:
        return Lines(lines=[f"{source.name} differs from {recipe} in nothing."])
    title = f"{source.name} differs from {recipe}"
    return Table(title=title, headings=["setting", "recipe", "run"], rows=rows)


def _value(settings: Mapping[str, Any], name: str) -> str:
    return shown(settings[name], 120) if name in settings else "-"
