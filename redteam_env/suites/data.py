"""From a suite's card to its requests: each with its label, in the form in which it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redteam_env.border.seeds import check_source
from redteam_env.game import RedteamError, Seed
from redteam_env.protocols import DataCard, GameSetup, SeedSource
from redteam_env.randomness import Address, generator
from redteam_env.registry import build
from redteam_env.seeds.source import cards_of, every_seed
from redteam_env.suites.card import LABELS, REQUEST_SLOT, DataPart, SuiteCard

MAX_CHARS = 20_000
"""Of a request, where the card says nothing else; jailbreaks in the wild are long."""
_HUB_FIELDS = ("config", "hf_split", "revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite with its requests.

    Attributes:
        card: What it is.
        seeds: All requests of the labels that its metric speaks of, as they are asked.
        sources: Where they come from.
    """

    card: SuiteCard
    seeds: Sequence[Seed]
    sources: Sequence[DataCard]

    def setups(self, *, path: Address, limit: int | None = None) -> list[GameSetup]:
        """Return one game for each request, in the order of the data; no attacker plays.

        Args:
            path: Addresses the games, and which requests are taken of more than ``limit``.
            limit: Most requests; they are drawn from all, both labels in proportion.
        """
        return [
            GameSetup(seed=seed, rewritten=False, path=(*path, "request", k), group=k)
            for k, seed in enumerate(self._taken(path, limit))
        ]

    def _taken(self, path: Address, limit: int | None) -> list[Seed]:
        total = len(self.seeds)
        if limit is None or limit >= total:
            return list(self.seeds)
        taken: set[int] = set()
        for label in LABELS:
            own = [k for k, x in enumerate(self.seeds) if x.harmful is (label == "harmful")]
            share = len(own) * limit / total
            # rounded up for the harmful, down for the benign, so that both together are the limit
            n = int(-(-share // 1)) if label == "harmful" else limit - len(taken)
            order = generator((*path, "limit", label)).permutation(len(own))
            taken |= {own[k] for k in order[:n]}
        return [self.seeds[k] for k in sorted(taken)]


def check_data(card: SuiteCard, files: Sequence[str] = ()) -> None:
    """Refuse what cannot be read whatever the hub says; nothing is fetched.

    Args:
        card: The suite.
        files: As in :func:`load_suite`.

    Raises:
        RedteamError: If a part of the data has no place, or another number of files is named.
    """
    if files and len(files) != len(card.data):
        raise RedteamError(
            f"The suite {card.name!r} has data in {len(card.data)} parts, but {len(files)} files are "
            f"named: {'+'.join(files)}. Write {_instead(card)}."
        )
    for part in card.data:
        if not files and part.seeds is part.file is part.hub is None:
            raise RedteamError(
                f"The suite {card.name!r} has no data set of its own. {_cure(card, part)}"
            )


def load_suite(card: SuiteCard, files: Sequence[str] = ()) -> Suite:
    """Read the requests of a suite.

    Args:
        card: The suite.
        files: In place of the card's data: a file or folder of the same shape for each part.

    Raises:
        RedteamError: If data cannot be had (the text names the set, the page with its terms, and how a
            file is named instead) or read, or no request is left.
    """
    check_data(card, files)
    given: Sequence[str | None] = files or [None] * len(card.data)
    sources = [_source(card, *pair) for pair in zip(card.data, given, strict=True)]
    wanted = {label == "harmful" for label in card.metric}
    seeds: dict[str, Seed] = {}
    for source in sources:
        for seed in every_seed(source):
            if seed.harmful in wanted:
                text = card.template.replace(REQUEST_SLOT, seed.text)
                seeds.setdefault(text, replace(seed, id=f"{card.name}/{seed.id}", text=text))
    missing = wanted - {seed.harmful for seed in seeds.values()}
    if missing:
        label = "harmful" if True in missing else "benign"
        raise RedteamError(f"The suite {card.name!r} has no {label} request; check its data.")
    cards = tuple(x for source in sources for x in cards_of(source))
    return Suite(card=card, seeds=tuple(seeds.values()), sources=cards)


def _source(card: SuiteCard, part: DataPart, file: str | None) -> SeedSource:
    what = f"data of the suite {card.name!r}"
    file = part.file if file is None else file
    if part.seeds is not None and file is None:
        return check_source(build("seeds", part.seeds), what)
    options: dict[str, Any] = {"heldout": "1", "lines": "keep", "max_chars": str(MAX_CHARS)}
    if card.form != "context":
        options["context"] = ""
    options |= part.columns
    if "split" not in options:
        options["split"] = ""
    hub = {x: getattr(part, x) for x in _HUB_FIELDS if getattr(part, x) is not None}
    if file is not None:
        kind = "hub" if Path(file).expanduser().is_dir() else "file"
        return check_source(
            build("seeds", kind, argument=file, **options, **(hub if kind == "hub" else {})), what
        )
    try:
        return check_source(build("seeds", "hub", argument=part.hub, **options, **hub), what)
    except RedteamError as error:
        raise RedteamError(
            f"The suite {card.name!r} has no data: {error} {_cure(card, part)}"
        ) from error


def _cure(card: SuiteCard, part: DataPart) -> str:
    where = f"The data set is {part.hub!r} of the hub. " if part.hub else ""
    terms = f"Its licence or terms: {part.page}. " if part.page else ""
    return f"{where}{terms}With a local copy, write {_instead(card)}."


def _instead(card: SuiteCard) -> str:
    files = "+".join(
        f"FILE{k + 1}" if len(card.data) > 1 else "FILE" for k in range(len(card.data))
    )
    return f"--suite {card.name}={files}"
