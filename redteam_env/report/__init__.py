"""What people look at: tables of rates, comparisons and cross-play, and curves."""

from redteam_env.report.attacks import attack_lines, queries_lines
from redteam_env.report.curves import Curve, curves_svg, mean, sparkline
from redteam_env.report.rejudged import rejudged_report, suites_rejudged_report
from redteam_env.report.suites import suites_report
from redteam_env.report.tables import (
    CORRECTED,
    MOST_LOST,
    calibration_lines,
    comparison_report,
    crossplay_report,
    difference_cell,
    judge_line,
    place_lines,
    rate_cell,
    rates_report,
    usage_lines,
    varieties_report,
    variety_report,
    void_line,
)

__all__ = [
    "CORRECTED",
    "MOST_LOST",
    "Curve",
    "attack_lines",
    "calibration_lines",
    "comparison_report",
    "crossplay_report",
    "curves_svg",
    "difference_cell",
    "judge_line",
    "mean",
    "place_lines",
    "queries_lines",
    "rate_cell",
    "rates_report",
    "rejudged_report",
    "sparkline",
    "suites_rejudged_report",
    "suites_report",
    "usage_lines",
    "varieties_report",
    "variety_report",
    "void_line",
]
