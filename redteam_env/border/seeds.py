"""Seed sources: the seeds that are drawn, all of a split, and where they come from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from redteam_env.border.calls import Plugin, Read, attribute, call, each, method_of, record
from redteam_env.border.records import seed
from redteam_env.game import RedteamError, Seed
from redteam_env.game.values import Unfit, text
from redteam_env.protocols import DataCard, SeedSource

_LABELS = {True: "harmful", False: "benign"}
_CARD: Mapping[str, Read[Any]] = dict.fromkeys(
    ("name", "licence", "revision", "sha256", "origin", "citation"), text
)


def draw(
    source: SeedSource, n: int, rng: np.random.Generator, *, harmful: bool, split: str
) -> list[Seed]:
    """Return seeds that a source drew.

    Args:
        source: The source.
        n: How many.
        rng: The only randomness.
        harmful: Their label.
        split: Their split.

    Raises:
        RedteamError: If it raises, or returns anything else than so many seeds of that label and split.
    """

    def read(value: Any) -> Seed:
        found = seed(value)
        if found.harmful is not harmful or found.split != split:
            raise Unfit(
                f"gave the {_LABELS[found.harmful]} seed {found.id!r} of the split {found.split!r}",
                f"give {_LABELS[harmful]} seeds of {split!r} only",
            )
        return found

    return call(
        _named(source),
        "draw",
        n,
        rng,
        harmful=harmful,
        split=split,
        returns="as many seeds (redteam_env.Seed) of that label and split as it is asked for",
        read=lambda value: each(value, read, noun="seeds", count=n, to=f"where {n} were asked for"),
    )


def all_seeds(source: SeedSource, split: str) -> list[Seed]:
    """Return all seeds of a split.

    Raises:
        RedteamError: If the source raises, or returns anything else than a sequence of seeds.
    """
    return call(
        _named(source),
        "seeds",
        split,
        returns="all seeds (redteam_env.Seed) of a split",
        read=lambda value: each(value, seed, noun="seeds"),
    )


def card_of(source: SeedSource, what: str = "") -> DataCard:
    """Return where the seeds of a source come from.

    Args:
        source: The source.
        what: What messages call it; by default by its class.

    Raises:
        RedteamError: If it has no card that says so.
    """
    plugin = Plugin(source, what or f"seed source {type(source).__name__!r}")
    if not hasattr(source, "card"):
        raise RedteamError(
            f"The {plugin.what} has no card; give it a redteam_env.protocols.DataCard, which says where "
            "its data come from."
        )
    return attribute(plugin, "card", _card)


def _card(value: Any) -> DataCard:
    try:
        return record(value, DataCard, _CARD)
    except Unfit as unfit:
        raise Unfit(unfit.came, "give a redteam_env.DataCard with texts") from None


def check_source(source: Any, what: str) -> SeedSource:
    """Return a seed source if it has what its protocol asks for.

    Args:
        source: The source.
        what: What messages call it.

    Raises:
        RedteamError: If a method or the card is missing.
    """
    plugin = Plugin(source, what)
    for method in ("seeds", "draw"):
        method_of(plugin, method)
    card_of(source, what)
    checked: SeedSource = source
    return checked


def _named(source: Any) -> Plugin:
    try:
        name = source.card.name
    except Exception:  # noqa: BLE001 - it has no name that could be told
        name = type(source).__name__
    return Plugin(source, f"seed source {name!r}")
