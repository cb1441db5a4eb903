"""What people look at: tables of rates, comparisons and cross-play."""

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
    "rate_cell",
    "rates_report",
    "usage_lines",
    "void_line",
]
