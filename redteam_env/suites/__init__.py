"""Benchmark suites: cards that say which requests are asked, in which form, and what is measured."""

from redteam_env.suites.card import DataPart, Metric, SuiteCard, card_names, group_names, read_card
from redteam_env.suites.data import Suite, check_data, load_suite
from redteam_env.suites.resolve import Entry, resolve_entries

__all__ = [
    "DataPart",
    "Entry",
    "Metric",
    "Suite",
    "SuiteCard",
    "card_names",
    "check_data",
    "group_names",
    "load_suite",
    "read_card",
    "resolve_entries",
]
