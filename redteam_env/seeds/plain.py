"""Requests as plain Python values: a list of texts and seeds, or texts by label."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from redteam_env.game import RedteamError, Seed, unknown_name
from redteam_env.game.values import shown
from redteam_env.protocols import DataCard
from redteam_env.seeds.source import ListSource, one_line
from redteam_env.utils import notices

LABELS = {"harmful": True, "benign": False}
PlainSeeds = Sequence[str | Seed] | Mapping[str, Sequence[str]]
_BY_LABEL = '{"harmful": ["..."], "benign": ["..."]}'
_HOW = f"such as {_BY_LABEL}, or a list of texts and redteam_env.Seed"
_DIGITS = 16
Splits = str | Callable[[str], str]


def is_plain(given: Any) -> TypeGuard[PlainSeeds]:
    """Whether seeds are plain values, and neither the name of a source nor a source."""
    return isinstance(given, Mapping | list | tuple)


def plain_source(given: PlainSeeds, *, split: Splits, name: str = "given") -> ListSource:
    """Return a source of requests that stand in a program.

    Args:
        given: Seeds, which have their labels and splits, and texts, which are harmful requests; or texts by
            label (``harmful``, ``benign``).
        split: The split of texts, or what tells it of each.
        name: What the source is called.

    Raises:
        RedteamError: If there is none, one is empty, or something is no text.
    """
    seeds = _by_label(given, split) if isinstance(given, Mapping) else _listed(given, split)
    texts = "\n".join(f"{seed.harmful} {seed.text}" for seed in seeds)
    card = DataCard(
        name=name,
        licence="not said",
        revision="1",
        sha256=hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest(),
        origin="given in Python",
    )
    return ListSource(seeds, card)


def only_share(given: Any) -> float | None:
    """Return the share of benign seeds among plain values of one label; ``None`` for all others."""
    if isinstance(given, Mapping):
        labels = [LABELS.get(label) for label, texts in given.items() if texts]
    else:
        labels = [getattr(seed, "harmful", True) for seed in given] if is_plain(given) else []
    if not labels or any(label is not labels[0] for label in labels):
        return None
    return None if labels[0] is None else float(labels[0] is False)


def _listed(given: Sequence[Any], split: Splits) -> list[Seed]:
    for seed in given:
        if not isinstance(seed, str | Seed):
            raise RedteamError(f"The seed {shown(seed)} is no seed and no text; give {_HOW}.")
    made = [
        seed
        if isinstance(seed, Seed)
        else _seed(seed, f"number {number} of the seeds", True, split)
        for number, seed in enumerate(given)
    ]
    if number := sum(isinstance(seed, str) for seed in given):
        notices.warn(
            f"{number} of the seeds are texts without a label and count as harmful requests; mark "
            f"benign ones by label, {_BY_LABEL}, or with redteam_env.Seed(id=..., text=..., "
            "harmful=False) in the list.",
        )
    return _once(made)


def _by_label(given: Mapping[str, Sequence[str]], split: Splits) -> list[Seed]:
    seeds: list[Seed] = []
    for label, texts in given.items():
        if label not in LABELS:
            raise unknown_name("label of seeds", label, LABELS, guess=False)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise RedteamError(
                f"The {label} seeds are {shown(texts)}; give a list of texts, {_HOW}."
            )
        seeds += [
            _seed(text, f"number {number} of the {label} seeds", LABELS[label], split)
            for number, text in enumerate(texts)
        ]
    return _once(seeds)


def _seed(text: str, what: str, harmful: bool, split: Splits) -> Seed:
    """Return a text as a seed, whose id nothing but text and label decide."""
    plain = one_line(text)
    if not plain:
        raise RedteamError(f"Text {what} is empty; leave it out.")
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    label = "harmful" if harmful else "benign"
    own = split if isinstance(split, str) else split(text)
    return Seed(id=f"{label}-{digest}", text=text, harmful=harmful, split=own)


def _once(seeds: Sequence[Seed]) -> list[Seed]:
    """Return the seeds without repetitions of the same one."""
    return list(dict.fromkeys(seeds))
