"""What people look at: tables of rates, comparisons and cross-play, and where they are printed."""

from redteam_env.report.console import make_console, progress_bar, tolerate_any_text
from redteam_env.report.tables import (
    comparison_report,
    crossplay_report,
    difference_cell,
    judge_line,
    rate_cell,
    rates_report,
    usage_lines,
    void_line,
)

__all__ = [
    "comparison_report",
    "crossplay_report",
    "difference_cell",
    "judge_line",
    "make_console",
    "progress_bar",
    "rate_cell",
    "rates_report",
    "tolerate_any_text",
    "usage_lines",
    "void_line",
]
