"""Seed sources: the requests that games start from, each with a data card."""

from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.seeds.source import (
    SPLITS,
    ListSource,
    cards_of,
    combine,
    normalise,
    only_label,
    stable_split,
)

__all__ = [
    "SPLITS",
    "ListSource",
    "cards_of",
    "combine",
    "normalise",
    "only_label",
    "resolve_seeds",
    "stable_split",
]
