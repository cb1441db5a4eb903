"""Stored games under two judges, side by side."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from redteam_env.evaluation.agreement import Agreement
from redteam_env.evaluation.attempts import Bounds, WithinAttempts
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.rejudge import Rejudged
from redteam_env.evaluation.statistics import Rate
from redteam_env.evaluation.stored_suites import RejudgedSuite
from redteam_env.report.attacks import best_line
from redteam_env.report.suites import suites_report, within_cell
from redteam_env.report.tables import (
    CORRECTED,
    TITLES,
    bounds_cell,
    calibration_lines,
    corrected_cell,
    difference_cell,
    judge_line,
    lost_lines,
    number_cell,
    rate_cell,
    share_cell,
    titled,
    void_line,
)
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text

HEADINGS = ("judged then", "judged now")


def rejudged_report(found: Rejudged) -> RenderableType:
    """Return the rates under both judges, how they differ, and how far the judges agree."""
    before, after = found.before, found.after
    known, corrected = after.calibration, after.corrected
    more = (CORRECTED,) if known else ()
    counts = [Column(heading=f"games {x}", drop=1) for x in HEADINGS]
    table = FittedTable("rate", *HEADINGS, *more, "difference", *counts)
    for name, change in found.differences.items():
        own = (corrected_cell(corrected.get(name)),) if known else ()
        rates: list[Rate] = [getattr(x.rates, name) for x in (before, after)]
        bounds = [side.get(name) for side in found.bounds]
        shown = [
            rate_cell(rate) if x is None else bounds_cell(x)
            for rate, x in zip(rates, bounds, strict=True)
        ]
        within = found.differences_within.get(name)
        changed = difference_cell(change) if within is None else bounds_cell(within, sign="+")
        counts_ = [_counted(rate, x) for rate, x in zip(rates, bounds, strict=True)]
        table.row(TITLES[name], *shown, *own, changed, *counts_)
    voids = [Text.assemble(safe_text(f"{x.judge}: "), void_line(x.rates)) for x in (before, after)]
    return Group(
        *lost_lines(after.rates),
        titled(f"{found.name}: {after.attacker} against {after.defender} [95 % interval]", table),
        titled("Agreement of the judges [95 % interval]", agreement_table(found.agreement)),
        *([cut_line(found.cut)] if found.cut else []),
        *voids,
        safe_text(f"Judged then by: {before.judge}"),
        judge_line(after.judge, after.smoke_only),
        *calibration_lines(known),
    )


def suites_rejudged_report(
    found: Sequence[RejudgedSuite],
    *,
    defender: str,
    judges: tuple[str, str],
    smoke_only: bool,
    attempts: int,
    attack: str | None = None,
    calibration: Calibration | None = None,
) -> RenderableType:
    """Return the tables of suites under two judges, and how far these agree on the same answers.

    Args:
        found: Each suite.
        defender: Who answered.
        judges: Who judged then, and who does now.
        smoke_only: Whether the second one is good for smoke runs only.
        attempts: Most attempts at each request.
        attack: The standing attack that made them, if one did.
        calibration: What is known of the errors of the second one.
    """
    then, now = judges
    parts: list[RenderableType] = [
        Group(
            safe_text(f"{HEADINGS[0]}, by {then}", "bold"),
            suites_report(
                [x.before for x in found],
                defender=defender,
                judge=then,
                smoke_only=False,
                attempts=attempts,
            ),
        ),
        Group(
            safe_text(f"{HEADINGS[1]}, by {now}", "bold"),
            suites_report(
                [x.after for x in found],
                defender=defender,
                judge=now,
                smoke_only=smoke_only,
                attempts=attempts,
                calibration=calibration,
            ),
        ),
    ]
    if attack is not None:
        parts.append(best_line(attack, attempts))
        if cut := sum(x.cut for x in found):
            parts.append(cut_line(cut))
    for suite in found:
        title = suite.after.suite.card.title
        if suite.within[0]:
            parts.append(titled(f"{title}: success within k attempts", _within_table(suite.within)))
        heading = f"{title}: agreement of the judges [95 % interval]"
        parts.append(titled(heading, agreement_table(suite.agreement, counted="answers")))
    return Group(*parts)


def _within_table(
    within: tuple[Sequence[WithinAttempts], Sequence[WithinAttempts]],
) -> FittedTable:
    counts = [Column(heading=f"requests {x}", drop=1) for x in HEADINGS]
    table = FittedTable("k", *HEADINGS, *counts)
    for pair in zip(*within, strict=True):
        table.row(str(pair[0].attempts), *map(within_cell, pair), *(str(x.requests) for x in pair))
    return table


def cut_line(searches: int) -> Text:
    """Return why some figures stand between bounds."""
    return Text(
        f"{searches} searches ended before their last attempt with what the judge does not call a success. What "
        "their further attempts would have come to is unknown, so figures that rest on them lie between "
        "two bounds, in an interval that holds for both.",
        style="yellow",
    )


def _counted(rate: Rate, bounds: Bounds | None) -> str:
    if bounds is None:
        return f"{rate.k}/{rate.n}"
    return f"{bounds.least * rate.n:.0f} to {bounds.most * rate.n:.0f}/{rate.n}"


def agreement_table(found: Mapping[str, Agreement], *, counted: str = "games") -> FittedTable:
    """Return how far two judges agree on each question.

    Args:
        found: For each question.
        counted: What they were asked about.
    """
    table = FittedTable(
        "question",
        "differ",
        Column(heading=counted, drop=1),
        "Cohen's kappa",
        Column(heading="answered by one judge only", drop=2),
    )
    for name, own in found.items():
        kappa = Text("-") if own.kappa is None else number_cell(own.kappa.value, own.kappa.interval)
        counts = f"{own.differing.k}/{own.differing.n}"
        alone = f"{own.first_only} + {own.second_only}"
        table.row(name, share_cell(own.differing), counts, kappa, alone)
    return table
