"""Tables of rates, comparisons and cross-play, for a terminal or a file.

No text of a player appears in a report; names and reasons come from outside and are escaped. The
judge stands below every table, with a warning where it is good for smoke runs only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from redteam_env.evaluation.attempts import Bounds
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.comparison import Comparison
from redteam_env.evaluation.correction import FIELD_OF, Corrected
from redteam_env.evaluation.crossplay import CrossPlay
from redteam_env.evaluation.matchup import Matchup
from redteam_env.evaluation.rates import OUTCOMES, Rates, measure
from redteam_env.evaluation.rewrites import Variety
from redteam_env.evaluation.statistics import Difference, Interval, Rate, Share
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text

TITLES: Mapping[str, str] = {
    "attack_success": "attack success (rewritten)",
    "raw_attack_success": "attack success (raw)",
    "faithful_attack_success": "faithful attack success",
    "harmful_refusal": "refusal of harmful (rewritten)",
    "over_refusal_raw": "over-refusal (raw benign)",
    "over_refusal_rewritten": "over-refusal (rewritten benign)",
    "label_drift": "label drift (benign to harmful)",
    "faithfulness": "rewrites with the seed's label",
    "faithful_rewrites": "faithful rewrites",
    "attacker_refusal": "attacker refused to attack",
    "forfeits": "forfeited games",
    "truncated": "games with a cut turn",
    "format_violations": "games with a broken format",
}
SHOWN_REASONS = 5
MOST_LOST = 0.1
"""The share of void and forfeited games above which a table's headline speaks of them."""
RAW_ROW = "(raw, no attacker)"
CORRECTED = "corrected [95 % interval]"
"""Of rates that are corrected for the judge's errors; below the table stands what is known of these."""
LABELS_ONLY = (
    "Faithful is by the judged label alone: a rewrite that asks for another harm than its seed has it, too. "
    "--faithfulness judge or embedding:minilm compares what they ask for."
)
UNCORRECTED = "Standing attacks are not corrected: a judge errs more often in the best of several attempts than in one."


def rates_report(matchup: Matchup) -> RenderableType:
    """Return the rates of one matchup with their 95 % Wilson intervals."""
    known = matchup.calibration
    corrected = matchup.corrected
    more = (CORRECTED,) if known else ()
    games = Column(heading="games", drop=1)
    table = FittedTable("rate", "value [95 % interval]", *more, games)
    for name in OUTCOMES:
        rate: Rate = getattr(matchup.rates, name)
        own = (corrected_cell(corrected.get(name)),) if known else ()
        table.row(TITLES[name], rate_cell(rate), *own, f"{rate.k}/{rate.n}")
    return Group(
        *lost_lines(matchup.rates),
        titled(f"{matchup.attacker} against {matchup.defender}", table),
        *([Text(LABELS_ONLY)] if matchup.by_labels else []),
        void_line(matchup.rates),
        judge_line(matchup.judge, matchup.smoke_only),
        *calibration_lines(known),
    )


def variety_report(found: Variety) -> RenderableType:
    """Return how varied an attacker's rewrites are, a measure a row."""
    missing = {
        "self-BLEU (low is varied)": "pip install 'redteam-env[eval]'",
        "embedding distance (high is varied)": "--embedder minilm",
        "similarity to the seed": "--embedder minilm",
    }
    values = {
        "distinct words": found.distinct_1,
        "distinct word pairs": found.distinct_2,
        "near duplicates": found.near_duplicates,
        "self-BLEU (low is varied)": found.self_bleu,
        "embedding distance (high is varied)": found.embedding_distance,
        "similarity to the seed": found.seed_similarity,
    }
    table = FittedTable("variety of rewrites", Column(heading="value", words=True))
    for name, value in values.items():
        cell = f"- ({missing[name]})" if value is None else f"{value:.3f}"
        table.row(name, cell)
    by = f", embedder {found.embedder}" if found.embedder else ""
    return titled(f"{found.rewrites} rewrites{by}", table)


def varieties_report(found: Mapping[str, Variety]) -> RenderableType:
    """Return how varied the rewrites of several attackers are, an attacker a row.

    Args:
        found: What :func:`~redteam_env.evaluation.rewrites.variety` measured of each, with one embedder or
            none.
    """
    embedder = next((x.embedder for x in found.values()), "")
    bleu = any(x.self_bleu is not None for x in found.values())
    columns: dict[str, Callable[[Variety], float | None]] = {
        "distinct words": lambda x: x.distinct_1,
        "distinct word pairs": lambda x: x.distinct_2,
        "near duplicates": lambda x: x.near_duplicates,
    }
    if bleu:
        columns |= {"self-BLEU (low is varied)": lambda x: x.self_bleu}
    if embedder:
        columns |= {
            "embedding distance (high is varied)": lambda x: x.embedding_distance,
            "similarity to the seed": lambda x: x.seed_similarity,
        }
    table = FittedTable("attacker", "rewrites", *columns)
    for attacker, own in found.items():
        values = (of(own) for of in columns.values())
        cells = ("-" if value is None else f"{value:.3f}" for value in values)
        table.row(attacker, f"{own.rewrites:,}", *cells)
    by = f", embedder {embedder}" if embedder else ""
    more = [] if bleu else ["self-BLEU: pip install 'redteam-env[eval]'"]
    more += (
        [] if embedder else ["Distance of embeddings, similarity to the seed: --embedder minilm"]
    )
    return Group(titled(f"Variety of rewrites{by}", table), *map(Text, more))


def comparison_report(
    comparison: Comparison, headings: tuple[str, str] = ("before", "after")
) -> RenderableType:
    """Return two matchups side by side, with the paired difference of every rate.

    Args:
        comparison: What :func:`~redteam_env.evaluation.comparison.compare` returned.
        headings: What to call the two columns.
    """
    before, after = comparison.before, comparison.after
    counts = [Column(heading=f"games {x}", drop=1) for x in headings]
    table = FittedTable("rate", *headings, "difference", *counts)
    for name, found in comparison.differences.items():
        rates: list[Rate] = [getattr(side.rates, name) for side in (before, after)]
        cells = [*map(rate_cell, rates), difference_cell(found)]
        table.row(TITLES[name], *cells, *(f"{x.k}/{x.n}" for x in rates))
    voids = [
        Text.assemble(safe_text(f"{heading}: "), void_line(side.rates))
        for heading, side in zip(headings, (before, after), strict=True)
    ]
    title = f"{headings[0]} and {headings[1]}, on the same games [95 % interval]"
    lost = [line for side in (before, after) for line in lost_lines(side.rates)]
    tables = [titled(title, table)]
    if before.calibration is not None:
        own = FittedTable("rate", *headings)
        for name in before.corrected:
            cells = [corrected_cell(side.corrected.get(name)) for side in (before, after)]
            own.row(TITLES[name], *cells)
        tables.append(titled(f"Rates, {CORRECTED}", own))
    return Group(
        *lost,
        *tables,
        *voids,
        judge_line(before.judge, before.smoke_only),
        *calibration_lines(before.calibration),
    )


def crossplay_report(result: CrossPlay) -> RenderableType:
    """Return the tables of a cross-play: rows attack, columns defend.

    Attack success and over-refusal stand in tables of their own, each with a row for the games
    without an attacker. With several defenders two more tables show how each differs from the
    first, paired by game; void games get a table if there are any.
    """
    tables = [
        _matrix("Attack success rate", result, "attack_success", raw="raw_attack_success"),
        _matrix("Over-refusal", result, "over_refusal_rewritten", raw="over_refusal_raw"),
    ]
    if len(result.defenders) > 1:
        tables.append(_against_first("Attack success rate", result, "attack_success"))
        tables.append(_against_first("Over-refusal", result, "over_refusal_rewritten"))
    first = next(iter(result.cells.values()))
    known = next((x for x in result.cells.values() if x.calibration is not None), first)
    attacked = any(x.calibration is None for x in result.cells.values())
    for title, rewritten, raw in (
        ("Attack success rate", "attack_success", "raw_attack_success"),
        ("Over-refusal", "over_refusal_rewritten", "over_refusal_raw"),
    ):
        if rewritten in known.corrected:
            tables.append(
                _corrected_matrix(title, result, rewritten, raw=raw, known=known.attacker)
            )
    total = measure(result.played)
    if total.void:
        tables.append(_void_matrix(result))
    return Group(
        *lost_lines(total),
        *tables,
        void_line(total),
        judge_line(first.judge, first.smoke_only),
        *calibration_lines(known.calibration),
        *([Text(UNCORRECTED)] if attacked and known.calibration is not None else []),
    )


def _corrected_matrix(title: str, result: CrossPlay, rate: str, *, raw: str, known: str) -> Group:
    table = _by_defender(result.defenders)
    for attacker in result.attackers:
        row = (result.cells[attacker, x].corrected.get(rate) for x in result.defenders)
        table.row(attacker, *map(corrected_cell, row))
    direct = (result.cells[known, x].corrected.get(raw) for x in result.defenders)
    table.section()
    table.row(RAW_ROW, *map(corrected_cell, direct))
    return titled(f"{title}, {CORRECTED}", table)


def _matrix(title: str, result: CrossPlay, rate: str, *, raw: str) -> Group:
    table = _by_defender(result.defenders)
    for attacker in result.attackers:
        row = [result.cells[attacker, defender].rates for defender in result.defenders]
        table.row(attacker, *(rate_cell(getattr(x, rate)) for x in row))
    direct = [result.cells[result.attackers[0], defender].rates for defender in result.defenders]
    table.section()
    table.row(RAW_ROW, *(rate_cell(getattr(x, raw)) for x in direct))
    return titled(f"{title} [95 % interval]", table)


def _against_first(title: str, result: CrossPlay, rate: str) -> Group:
    others = result.defenders[1:]
    table = _by_defender(others)
    found = result.differences[rate]
    for attacker in result.attackers:
        row = (difference_cell(found[attacker, defender]) for defender in others)
        table.row(attacker, *row)
    return titled(f"{title}: difference to {result.defenders[0]} [95 % interval]", table)


def _void_matrix(result: CrossPlay) -> Group:
    table = _by_defender(result.defenders)
    for attacker in result.attackers:
        row = (result.cells[attacker, defender].rates for defender in result.defenders)
        table.row(attacker, *(f"{x.void} of {x.games}" for x in row))
    return titled("Void games, raw ones included", table)


def _by_defender(defenders: Sequence[str]) -> FittedTable:
    return FittedTable("attacker \\ defender", *defenders)


def titled(title: str, table: FittedTable) -> Group:
    """Put a title above a table."""
    return Group(safe_text(title, "bold"), table)


def rate_cell(rate: Rate) -> Text:
    """Return a rate with its interval, such as ``0.25 [0.07, 0.59]``; ``-`` for no games."""
    if rate.value is None:
        return Text("-")
    return number_cell(rate.value, rate.interval)


def corrected_cell(found: Corrected | None) -> Text:
    """Return a corrected rate with its interval, or why there is none; ``-`` where none is corrected."""
    if found is None:
        return Text("-")
    own = found.estimate
    return Text(own.reason) if own.value is None else number_cell(own.value, own.interval)


def calibration_lines(known: Calibration | None) -> list[Text]:
    """Return what is known of a judge, a line for each question that it was measured on."""
    if known is None:
        return []
    lines = []
    for field, own in known.fields.items():
        shares = {"sensitivity": own.sensitivity, "specificity": own.specificity}
        told = ", ".join(f"{name} {share_cell(x).plain}" for name, x in shares.items())
        line = f"Judge's {field}: {told} (on {own.dialogues} answers of {own.labels})"
        lines.append(safe_text(line))
    if not known.fields.keys() >= set(FIELD_OF.values()):
        missing = ", ".join(sorted(set(FIELD_OF.values()) - known.fields.keys()))
        lines.append(Text(f"Not calibrated, so not corrected: {missing}"))
    return [*lines, *place_lines(known)]


def place_lines(known: Calibration) -> list[Text]:
    """Return a warning for a judge that does not say its revision, else nothing."""
    place = known.judge.place
    if not place:
        return []
    told = (
        f"The judge does not say its revision: its errors were measured at {place}, and hold as long as the "
        "same model answers there. Whoever knows it vouches for it by revision=TEXT behind the judge's name."
    )
    return [safe_text(told, "yellow")]


def share_cell(share: Share) -> Text:
    """Return a share with its interval; ``-`` for no outcomes."""
    if share.value is None:
        return Text("-")
    return number_cell(share.value, share.interval)


def number_cell(value: float, interval: Interval) -> Text:
    """Return a number with its interval, such as ``0.25 [0.07, 0.59]``."""
    return Text(f"{value:.2f} {_interval(interval)}")


def bounds_cell(bounds: Bounds, *, sign: str = "") -> Text:
    """Return between what a figure lies, with its interval, such as ``0.25 to 0.50 [0.07, 0.80]``."""
    ends = f"{bounds.least:{sign}.2f} to {bounds.most:{sign}.2f}"
    return Text(f"{ends} {_interval(bounds.interval, sign=sign)}")


def difference_cell(found: Difference) -> Text:
    """Return a difference with its interval, such as ``+0.10 [-0.05, +0.25]``."""
    if found.value is None:
        return Text("-")
    return Text(f"{found.value:+.2f} {_interval(found.interval, sign='+')}")


def lost_lines(rates: Rates) -> list[Text]:
    """Return the headline of a table of which too many games are void or forfeited, else nothing."""
    if rates.lost_share is None or rates.lost_share <= MOST_LOST:
        return []
    text = f"{rates.lost} of {rates.games} games are void or forfeited: the rates are about the others."
    return [Text(text, style="bold yellow")]


def void_line(rates: Rates) -> Text:
    """Return the number of void games, with the most frequent reasons."""
    line = Text(f"Void games (in no rate): {rates.void} of {rates.games}")
    reasons = sorted(rates.void_reasons.items(), key=lambda item: -item[1])
    for reason, number in reasons[:SHOWN_REASONS]:
        line.append(f"\n  {number} x ").append_text(safe_text(" ".join(reason.split())))
    if len(reasons) > SHOWN_REASONS:
        line.append(f"\n  and {len(reasons) - SHOWN_REASONS} more reasons")
    return line


def usage_lines(rows: Sequence[Mapping[str, Any]]) -> Text:
    """Return what agents behind an API took, a line each.

    Args:
        rows: As :meth:`~redteam_env.evaluation.AgentPool.usage` returns them.
    """
    lines = []
    for row in rows:
        parts = [f"{row['requests']:,} requests, {row['failed']:,} failed"]
        if row["retries"]:
            parts.append(f"{row['retries']:,} retries")
        if row["cut"]:
            parts.append(f"{row['cut']:,} cut at the token limit")
        parts.append(f"{row['prompt_tokens']:,} + {row['completion_tokens']:,} tokens")
        if row["unmetered"]:
            parts.append(f"tokens of {row['unmetered']:,} answers unknown")
        if row["cost"] is not None:
            parts.append(f"cost {row['cost']:,.4f}")
        lines.append(safe_text(f"{row['agent']} ({row['role']}): {', '.join(parts)}"))
    return Text("\n").join(lines)


def judge_line(judge: str, smoke_only: bool) -> Text:
    """Return the judge's name, and a warning if it is good for smoke runs only."""
    if not smoke_only:
        return safe_text(f"Judge: {judge}")
    name = judge.replace(" (smoke test only)", "")
    warning = f"Judge: {name}, for smoke runs only, not for reported numbers"
    return safe_text(warning, style="bold yellow")


def _interval(interval: Interval, *, sign: str = "") -> str:
    return f"[{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"
