"""The first screen of a report: what it is about, the numbers to look at first, and what they say in words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.evaluation import Rate, Rates, measure
from redteam_env.evaluation.rates import one_rate
from redteam_env.game import Episode
from redteam_env.page import words
from redteam_env.page.blocks import Block, Lines, Section, Table, finite, shown, stored_cell
from redteam_env.page.sources import WINDOW, Games, Kind, Source
from redteam_env.page.stored import SUITE_METRICS, list_of, mapping_of, suite_rows
from redteam_env.report.tables import TITLES, rate_cell

HEADLINE = ("attack_success", "over_refusal_rewritten")
"""The rates of the first screen."""
PLAYED = frozenset({Kind.EVALUATION, Kind.CROSSPLAY, Kind.REJUDGED})
"""What has rates of games that were played for them."""
MOST_ROWS = 8
"""Most pairings, suites or cells of the first screen; the others are in their sections."""


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


def ends_of(source: Source) -> Ends | None:
    """Return the first and the last games of a run; ``None`` for fewer than two steps with games."""
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


def glance_section(
    sources: Sequence[Source], ends: Mapping[str, Ends], compared: Sequence[str]
) -> Section:
    """Return the first screen.

    Args:
        sources: What the report is about.
        ends: The first and the last games of each run.
        compared: What paired differences between the sources say.
    """
    blocks: list[Block] = [Lines(lines=[words.what(source) for source in sources])]
    if warnings := list(_warnings(sources)):
        blocks.append(Lines(lines=warnings, title="Beware", warning=True))
    blocks += [
        table
        for table in (_trained(ends), _played(sources), _suites(sources), _leaders(sources))
        if table is not None
    ]
    if judged := list(_judged(sources)):
        blocks.append(Lines(lines=judged, title="Judge and losses"))
    reading = [line for source in sources for line in _reading(source, ends)]
    reading += compared
    if any(source.kind is Kind.RUN for source in sources):
        reading.append(words.ONE_RUN)
    if any(source.kind in {*PLAYED, Kind.RUN} and source.games for source in sources):
        reading.append(words.TOGETHER)
    if reading:
        blocks.append(Lines(lines=reading, title="What the numbers say"))
    blocks.append(_facts(sources))
    return Section(anchor="glance", title="At a glance", blocks=blocks)


def _warnings(sources: Sequence[Source]) -> Iterator[str]:
    smoke: dict[str, list[str]] = {}
    for source in sources:
        if words.smoke_only(source):
            smoke.setdefault(words.short_judge(source), []).append(source.name)
    for judge, names in smoke.items():
        yield f"{', '.join(names)}: the judge {judge} is for smoke runs only, its numbers are not to be reported."
    for source in sources:
        lost, games = _lost(source)
        if words.lost_many(lost, games):
            yield f"{source.name}: {lost} of {games} games are void or forfeited. The rates are about the others."
    for source in sources:
        yield from (f"{source.name}: {note}" for note in source.notes)


def _trained(ends: Mapping[str, Ends]) -> Table | None:
    """Return the two rates to look at first, of each run at both ends."""
    if not ends:
        return None
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


def _played(sources: Sequence[Source]) -> Table | None:
    """Return the same rates of games that were played to measure somebody."""
    rows = []
    found = [(x, group) for x in sources if x.kind in PLAYED for group in x.games]
    for source, group in found:
        rates = {name: one_rate(name, group.episodes) for name in HEADLINE}
        if any(rate.n for rate in rates.values()):
            cells = [f"{rate_cell(x).plain}" for x in rates.values()]
            rows.append([f"{source.name}: {shown(group.title, 120)}", *cells])
    if not rows:
        return None
    rest = len(rows) - MOST_ROWS
    note = f"{rest} more pairings are in the sections below." if rest > 0 else ""
    return Table(
        title="Held-out games [95 % interval]",
        headings=["", *(TITLES[name] for name in HEADLINE)],
        rows=rows[:MOST_ROWS],
        note=note,
    )


def _suites(sources: Sequence[Source]) -> Table | None:
    """Return each suite's own metric."""
    rows = []
    for source in sources:
        for suite, row in suite_rows(source):
            metric = str(row.get("own_metric"))
            figure = mapping_of(row.get("figures")).get(metric)
            title = (
                f"{source.name}: {shown(suite.get('title'), 80)} ({shown(row.get('label'), 20)})"
            )
            answers = [mapping_of(x).get("answers", "-") for x in (figure, row)]
            counted = " of ".join(shown(x, 20) for x in answers)
            cells = [SUITE_METRICS.get(metric, shown(metric, 40)), stored_cell(figure), counted]
            rows.append([title, *cells])
    if not rows:
        return None
    rest = len(rows) - MOST_ROWS
    return Table(
        title="Benchmark suites, by the metric of each [95 % interval]",
        headings=["suite", "metric", "value", "answers that count"],
        rows=rows[:MOST_ROWS],
        note=f"{rest} more are in their section." if rest > 0 else "",
    )


def _leaders(sources: Sequence[Source]) -> Table | None:
    """Return the first cells of leaderboards, by the score that ranks them."""
    rows = []
    for source in sources:
        if source.kind is not Kind.BENCH:
            continue
        for cell in list_of(source.record.get("cells"))[:3]:
            scores = mapping_of(mapping_of(cell).get("scores"))
            if scores:
                name = next(iter(scores))
                told = f"{shown(cell.get('label'), 60)}, {shown(cell.get('arrangement'), 40)}"
                refused = stored_cell(scores.get("over_refusal_rewritten"))
                score = f"{shown(name, 40)} {stored_cell(scores[name])}"
                rows.append([f"{source.name}: {told}", score, refused])
    if not rows:
        return None
    headings = ["leaders", "score that ranks", "over-refusal, rewritten"]
    return Table(
        title="Head of the leaderboard, means over runs [95 % interval]",
        headings=headings,
        rows=rows,
    )


def _judged(sources: Sequence[Source]) -> Iterator[str]:
    """Return who judged, how well, and how many games have no verdict that counts."""
    known: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        name = words.judge_name(source)
        if name != words.UNNAMED:
            known.setdefault((name, words.calibration(source)), []).append(source.name)
    for (name, calibration), names in known.items():
        of = f" of {', '.join(names)}" if len(known) > 1 else ""
        yield f"Judge{of}: {name}. Calibration: {calibration}."
    told = []
    for source in sources:
        lost, games = _lost(source)
        if games:
            told.append(f"{source.name} {lost:,} of {games:,} ({lost / games:.1%})")
    if told:
        yield f"Void or forfeited games: {'; '.join(told)}."
    yield from (f"{source.name}: {source.partial}" for source in sources if source.partial)


def _reading(source: Source, ends: Mapping[str, Ends]) -> Iterator[str]:
    """Return what the numbers of a source say, in words."""
    if source.name in ends:
        own = ends[source.name]
        before, after = own.rates
        for rate in HEADLINE:
            pair = getattr(before, rate), getattr(after, rate)
            if pair[0].n and pair[1].n:
                yield f"{source.name}, {words.moved(rate, *pair, own.titles)}"
    if source.kind is Kind.EVALUATION and len(source.games) == 1:
        yield from (f"{source.name}, {line}" for line in _rewriting(source.games[0]))
    if source.kind is Kind.CROSSPLAY:
        lines = words.against_first(source, HEADLINE)
        yield from (f"{source.name}, {line}" for line in lines[:MOST_ROWS])
        if lines:
            yield words.MANY
    if source.kind in {Kind.SUITES, Kind.EVALUATION}:
        yield from (f"{source.name}, {line}" for line in _attacked(source))
    races = source.record.get("races") if source.kind is Kind.QUICKSTART else None
    for name, race in mapping_of(races).items():
        if isinstance(race, Mapping) and isinstance(race.get("sentence"), str):
            yield f"{shown(name, 60)}: {shown(race['sentence'])}"
    if source.kind is Kind.BENCH and (line := words.leading(source)) is not None:
        yield f"{source.name}: {line}"
    if source.kind is Kind.EXPERIMENT:
        yield from _claims(source)


def _rewriting(group: Games) -> Iterator[str]:
    """Return what rewriting did to attack success and to over-refusal."""
    sides = {
        "attack success": ("raw_attack_success", "attack_success"),
        "over-refusal": ("over_refusal_raw", "over_refusal_rewritten"),
    }
    for title, names in sides.items():
        rates: list[Rate] = [one_rate(name, group.episodes) for name in names]
        if (line := words.rewriting(title, *rates)) is not None:
            yield line


def _attacked(source: Source) -> Iterator[str]:
    """Return how success on suites grew with the attempts of an attack."""
    result = source.record.get("result")
    for suite in (result if isinstance(result, list) else [result])[:MOST_ROWS]:
        found = mapping_of(mapping_of(suite).get("attacked"))
        within = [x for x in list_of(found.get("success_within")) if isinstance(x, Mapping)]
        if not within:
            continue
        ends = [within[0], within[-1]] if len(within) > 1 else within
        told = ", ".join(
            f"within {shown(x.get('attempts'), 12)} attempt{'s' * (x.get('attempts') != 1)} {stored_cell(x)}"
            for x in ends
        )
        title = shown(mapping_of(suite).get("title", found.get("attack")), 80)
        yield f"{title}: success on harmful requests {told}."


def _claims(source: Source) -> Iterator[str]:
    by_verdict: dict[str, list[str]] = {}
    for name, own in source.record.items():
        if isinstance(own, Mapping):
            by_verdict.setdefault(shown(own.get("verdict"), 40), []).append(
                shown(name, 60).replace("_", " ")
            )
    many = sum(map(len, by_verdict.values()))
    if many:
        counted = ", ".join(f"{len(names)} {verdict}" for verdict, names in by_verdict.items())
        yield f"{source.name}: of {many} claims, {counted}."
        for verdict, names in by_verdict.items():
            yield f"{verdict[:1].upper()}{verdict[1:]}: {', '.join(names[:MOST_ROWS])}."


def _facts(sources: Sequence[Source]) -> Table:
    rows: dict[str, Callable[[Source], str]] = {
        "what": lambda x: str(x.kind),
        "trained": lambda x: _setting(x, "algorithm"),
        "weights": lambda x: _setting(x, "arrangement"),
        "model": _model,
        "seeds": lambda x: "-" if x.kind is Kind.SUITES else _told(words.seeds_of(x)),
        "opponents": lambda x: _setting(x, "opponents"),
        "steps": lambda x: (
            f"{len(x.rows)} of {_setting(x, 'steps')}" if x.kind is Kind.RUN else "-"
        ),
        "games in this report": lambda x: f"{len(x.episodes):,}" if x.games else _games(x),
        "version": lambda x: _version(x.record),
        "written": lambda x: shown(x.record.get("written", "-"), 40),
    }
    cells = {title: [of(source) for source in sources] for title, of in rows.items()}
    return Table(
        title="What was trained and measured",
        headings=["", *(source.name for source in sources)],
        rows=[[title, *row] for title, row in cells.items() if set(row) != {"-"}],
    )


def _model(source: Source) -> str:
    """Return the model of a run, or the one that ``base`` means, if any of the games was played by one."""
    if source.kind is Kind.RUN:
        return _setting(source, "model")
    if not source.games:
        return "-"
    played = any(turn.generation is not None for x in source.episodes for turn in x.turns)
    return _setting(source, "model") if played else "none: scripts or services played"


def _games(source: Source) -> str:
    """Return of measurements that store no games how many they made."""
    many = finite(source.record.get("games"))
    return "-" if many is None else f"none of its {many:,.0f}"


def _setting(source: Source, name: str) -> str:
    return _told(source.settings.get(name))


def _told(value: Any) -> str:
    return "-" if value is None or value == "" else shown(value, 120)


def _lost(source: Source) -> tuple[int, int]:
    """Return how many games of a source are void or forfeited, of how many."""
    lost = sum(x.uncounted is not None or x.forfeit is not None for x in source.episodes)
    return lost, len(source.episodes)


def _version(record: Mapping[str, Any]) -> str:
    versions = record.get("versions")
    own = versions.get("redteam-env") if isinstance(versions, Mapping) else record.get("version")
    return "-" if own is None else shown(own, 40)


def _steps(which: str, groups: Sequence[Any]) -> str:
    return f"{which} step" if len(groups) == 1 else f"{which} {len(groups)} steps"
