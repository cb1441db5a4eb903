"""Requests as plain Python values: a list of seeds, or texts by label."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.game import RedteamError, Seed, unknown_name
from redteam_env.protocols import DataCard
from redteam_env.seeds.source import ListSource

LABELS = {"harmful": True, "benign": False}
PlainSeeds = Sequence[Seed] | Mapping[str, Sequence[str]]
_HOW = 'such as {"harmful": ["..."], "benign": ["..."]}, or a list of redteam_env.Seed'


def plain_source(given: PlainSeeds, *, split: str) -> ListSource:
    """Return a source of requests that stand in a program.

    Args:
        given: Seeds, which have their labels and splits; or texts by label (``harmful``, ``benign``).
        split: The split of texts.

    Raises:
        RedteamError: If a text has no label, or something is no text.
    """
    seeds = _by_label(given, split) if isinstance(given, Mapping) else _listed(given)
    texts = "\n".join(f"{seed.harmful} {seed.text}" for seed in seeds)
    card = DataCard(
        name="given",
        licence="not said",
        revision="1",
        sha256=hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest(),
        origin="given in Python",
    )
    return ListSource(seeds, card)


def _listed(given: Sequence[Any]) -> list[Seed]:
    for seed in given:
        if isinstance(seed, str):
            raise RedteamError(
                f"The seed {seed!r} is a text without a label, and nothing says whether it is harmful; "
                f"give texts by label, {_HOW}."
            )
        if not isinstance(seed, Seed):
            raise RedteamError(f"The seed {seed!r} is no seed; give {_HOW}.")
    return list(given)


def _by_label(given: Mapping[str, Sequence[str]], split: str) -> list[Seed]:
    seeds = []
    for label, texts in given.items():
        if label not in LABELS:
            raise unknown_name("label of seeds", label, LABELS)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise RedteamError(f"The {label} seeds are {texts!r}; give a list of texts, {_HOW}.")
        seeds += [
            Seed(id=f"{label}-{number}", text=text, harmful=LABELS[label], split=split)
            for number, text in enumerate(texts)
        ]
    return seeds
