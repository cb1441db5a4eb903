"""Measuring agents: rates with intervals, matchups on held-out games, comparisons, cross-play."""

from redteam_env.evaluation.agents import AgentPool, check_spec, run_defaults
from redteam_env.evaluation.comparison import Comparison, compare
from redteam_env.evaluation.crossplay import CrossPlay, crossplay
from redteam_env.evaluation.dispatch import Dispatcher, MemoAgent
from redteam_env.evaluation.matchup import Matchup, evaluate, heldout_setups
from redteam_env.evaluation.rates import OUTCOMES, Rates, difference, measure
from redteam_env.evaluation.statistics import (
    Difference,
    Interval,
    Rate,
    clustered_bootstrap,
    paired_difference,
    wilson,
)

__all__ = [
    "OUTCOMES",
    "AgentPool",
    "Comparison",
    "CrossPlay",
    "Difference",
    "Dispatcher",
    "Interval",
    "Matchup",
    "MemoAgent",
    "Rate",
    "Rates",
    "check_spec",
    "clustered_bootstrap",
    "compare",
    "crossplay",
    "difference",
    "evaluate",
    "heldout_setups",
    "measure",
    "paired_difference",
    "run_defaults",
    "wilson",
]
