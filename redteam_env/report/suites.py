"""The table of suites: a row for each suite and label, a column for each metric."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from redteam_env.evaluation.attempts import WithinAttempts
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.suite_play import SuiteResult
from redteam_env.evaluation.suite_scores import FIELD_OF, Figure, SuiteRow
from redteam_env.report.tables import (
    SHOWN_REASONS,
    bounds_cell,
    calibration_lines,
    corrected_cell,
    judge_line,
    number_cell,
)
from redteam_env.utils.tables import FittedTable
from redteam_env.utils.text import safe_text

COLUMNS = {
    "success": "harm-based success",
    "compliance": "compliance",
    "refusal": "refusal",
    "graded": "graded harm",
}
"""What the metrics are called where each request is asked as it stands."""
OWN = "*"


def suites_report(
    results: Sequence[SuiteResult],
    *,
    defender: str,
    judge: str,
    smoke_only: bool,
    attempts: int = 1,
    calibration: Calibration | None = None,
) -> RenderableType:
    """Return the table of suites.

    Args:
        results: What came of each.
        defender: Who answered.
        judge: Who judged.
        smoke_only: Whether that judge is good for smoke runs only.
        attempts: How many each request had, at most.
        calibration: What is known of the judge's errors.
    """
    attacked = any(result.attacked is not None for result in results)
    # the best of all attempts is a success exactly where there was one within them: no second column
    several = attempts > 1 and not attacked
    within = f"success within {attempts}"
    headings = [*({**COLUMNS, "success": within} if attacked else COLUMNS).values()]
    table = FittedTable("suite", "requests", *headings, *([within] if several else []))
    notes: list[Text] = []
    for result in results:
        for row in result.rows:
            cells = [_cell(row, metric) for metric in COLUMNS]
            cells += [within_cell(row.within)] if several else []
            title = f"{result.suite.card.title} ({row.label})"
            table.row(title, str(row.requests), *cells)
            notes += _notes(title, row)
    meant = [
        safe_text(f"{x.suite.card.title} is meant to be read by the judge {x.suite.card.judge}.")
        for x in results
        if x.suite.card.judge and judge != x.suite.card.judge
    ]
    return Group(
        safe_text(f"{defender} on {_counted(len(results))} [95 % interval]", "bold"),
        table,
        Text(f"{OWN} the suite's own metric"),
        *notes,
        *meant,
        *([_corrected(results)] if calibration else []),
        *calibration_lines(calibration),
        judge_line(judge, smoke_only),
    )


def _counted(suites: int) -> str:
    return f"{suites} suite{'s' * (suites != 1)}"


def _corrected(results: Sequence[SuiteResult]) -> Group:
    """Return the table of corrected figures."""
    table = FittedTable("suite", *(COLUMNS[metric] for metric in FIELD_OF))
    for result in results:
        for row in result.rows:
            found = [row.figures.get(metric) for metric in FIELD_OF]
            cells = (corrected_cell(x.corrected if x else None) for x in found)
            table.row(f"{result.suite.card.title} ({row.label})", *cells)
    return Group(Text("Corrected for the judge's errors [95 % interval]", style="bold"), table)


def _cell(row: SuiteRow, metric: str) -> Text:
    mark = OWN if metric == row.own else ""
    figure = row.figures.get(metric)
    if figure is not None and figure.bounds is not None:
        return bounds_cell(figure.bounds).append(mark)
    if figure is None or (figure.value is None and not mark):
        return Text("-")
    if figure.value is None or figure.interval is None:
        return Text(f"none{mark}", style="yellow")
    return number_cell(figure.value, figure.interval).append(mark)


def within_cell(found: WithinAttempts | None) -> Text:
    """Return success within k attempts, or between what it lies; ``-`` where it has no value."""
    if found is not None and found.bounds is not None:
        return bounds_cell(found.bounds)
    if found is None or found.value is None:
        return Text("-")
    return number_cell(found.value, found.interval)


def _notes(title: str, row: SuiteRow) -> list[Text]:
    notes = []
    own: Figure = row.figures[row.own]
    if own.reason:
        notes.append(safe_text(f"{title}: none, because {own.reason}.", "yellow"))
    notes += [
        safe_text(f"{title}, {metric}: of {figure.answers} of {row.answers} answers.", "yellow")
        for metric, figure in row.figures.items()
        if not figure.reason and figure.answers < row.answers
    ]
    if row.lost:
        reasons = sorted(row.lost_reasons.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
        told = "; ".join(f"{n} x {' '.join(reason.split())}" for reason, n in reasons)
        notes.append(
            safe_text(f"{title}: {row.lost} of {row.answers} answers in no figure: {told}")
        )
    if row.within is not None and row.within.short:
        notes.append(
            safe_text(
                f"{title}: {row.within.short} requests had too few judged attempts for success within "
                f"{row.within.attempts}."
            )
        )
    return notes
