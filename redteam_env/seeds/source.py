"""Seed sources as lists: checked once when they are made, drawn without replacement.

A split that leaks into another makes every held-out number worthless, so texts are compared in a
normal form and a text in both splits is an error, never a warning.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from redteam_env.border.records import demand
from redteam_env.border.records import seed as read_seed
from redteam_env.border.seeds import all_seeds, card_of
from redteam_env.game import GameConfig, RedteamError, Seed, unknown_name
from redteam_env.protocols import DataCard, SeedSource
from redteam_env.utils import notices

SPLITS = ("train", "heldout")
DEFAULT_MAX_CHARS = GameConfig().max_seed_chars
DEFAULT_HELDOUT = 0.2
_LABELS = {True: "harmful", False: "benign"}


def one_line(text: str) -> str:
    """Return the text with every run of white space, line breaks included, as one space."""
    return " ".join(text.split())


def normalise(text: str) -> str:
    """Return the form in which texts are compared.

    Compatibility characters are unified (NFKC), case is folded, punctuation and invisible format
    characters go, white space is collapsed. A text of punctuation only keeps it, so that two such
    texts are not taken for the same.

    Args:
        text: Any text.

    Returns:
        Equal strings for texts that a reader would call the same request.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(
        char
        for char in folded
        if not unicodedata.category(char).startswith("P") and unicodedata.category(char) != "Cf"
    )
    return one_line(kept) or one_line(folded)


def stable_split(text: str, heldout_share: float = DEFAULT_HELDOUT) -> str:
    """Assign a text to a split by its own content, for data without a split of their own.

    The SHA-256 of the normalised text decides, so the answer depends neither on the order nor on
    the rest of the data, and the same request falls into the same split in every source.

    Args:
        text: The request.
        heldout_share: Expected share of held-out texts, in [0, 1].

    Returns:
        ``train`` or ``heldout``.
    """
    digest = hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "heldout" if place < heldout_share else "train"


class ListSource:
    """A seed source that holds its seeds in memory.

    Attributes:
        card: Where the data come from; of several sources, the first one's.
        cards: The cards of all sources that were combined.
        max_chars: Most characters a seed may have.
        keep_lines: Whether line breaks within a seed stay.
        duplicates: Seeds dropped because an earlier one of the same split has the same text.
        contradictions: Texts dropped altogether because they came with both labels.
    """

    def __init__(
        self,
        seeds: Iterable[Seed],
        card: DataCard,
        *,
        more_cards: Sequence[DataCard] = (),
        max_chars: int = DEFAULT_MAX_CHARS,
        keep_lines: bool = False,
        resplit: str = "",
    ) -> None:
        """Check the seeds and keep the distinct ones.

        Line breaks within a text become spaces unless they are kept. Of equal texts in one split (compared by
        :func:`normalise`) the first is kept.

        Args:
            seeds: The seeds of both splits, in the order in which they will be listed.
            card: Where they come from; its name becomes the ``source`` of seeds without one.
            more_cards: Cards of further data sets among the seeds.
            max_chars: Most characters a seed may have.
            keep_lines: Whether line breaks within a seed stay, as in the requests of a benchmark.
            resplit: The source as a user writes it to get other splits, for the error about an empty
                one; empty where the data bring their own.

        Raises:
            RedteamError: If there is no seed, or one is empty, too long, not encodable, of an
                unknown split, bears another's id, or stands in both splits.
        """
        self.card = card
        self.cards: tuple[DataCard, ...] = (card, *more_cards)
        self.max_chars = max_chars
        self.keep_lines = keep_lines
        self._resplit = resplit
        checked = [self._checked(seed) for seed in seeds]
        if not checked:
            raise RedteamError(
                f"The seed source {self.name!r} is empty; give it at least one seed."
            )
        repeated = [name for name, n in Counter(seed.id for seed in checked).items() if n > 1]
        if repeated:
            raise RedteamError(
                f"{len(repeated)} ids occur more than once in the seed source {self.name!r}, such "
                f"as {repeated[0]!r}; ids must be unique."
            )
        kept = self._distinct(checked)
        self._by_split = {s: tuple(seed for seed in kept if seed.split == s) for s in SPLITS}
        self._pools = {
            (split, harmful): tuple(seed for seed in members if seed.harmful is harmful)
            for split, members in self._by_split.items()
            for harmful in (True, False)
        }

    @property
    def name(self) -> str:
        """The names of all cards."""
        return " + ".join(card.name for card in self.cards)

    def draw(
        self, n: int, rng: np.random.Generator, *, harmful: bool, split: str = "train"
    ) -> list[Seed]:
        """Return ``n`` seeds of one label and split, in random order, without replacement.

        Once all were drawn, a fresh permutation follows. Nothing is remembered between calls: equal
        generators give equal seeds, and drawing fewer gives the beginning of drawing more.

        Args:
            n: How many.
            rng: Where the order comes from.
            harmful: The label.
            split: ``train`` or ``heldout``.

        Raises:
            RedteamError: If ``n`` is negative, the split unknown, or there is no such seed.
        """
        if n < 0:
            raise RedteamError(f"{n} seeds cannot be drawn; ask for 0 or more.")
        _check_split(split)
        pool = self._pools[split, harmful]
        if not pool:
            raise RedteamError(self._none_left(harmful=harmful, split=split))
        drawn: list[Seed] = []
        while len(drawn) < n:
            drawn += [pool[k] for k in rng.permutation(len(pool))[: n - len(drawn)]]
        return drawn

    def seeds(self, split: str) -> tuple[Seed, ...]:
        """Return all seeds of a split in a fixed order.

        Raises:
            RedteamError: If the split is unknown.
        """
        _check_split(split)
        return self._by_split[split]

    def _checked(self, seed: Seed) -> Seed:
        seed = demand(seed, read_seed, f"A seed of {self.name!r}")
        text = seed.text.strip() if self.keep_lines else one_line(seed.text)
        where = f"Seed {seed.id!r} of {self.name!r}"
        if not text:
            raise RedteamError(f"{where} is empty; remove it or give it a text.")
        if len(text) > self.max_chars:
            raise RedteamError(
                f"{where} has {len(text)} characters, over the limit of {self.max_chars}; shorten "
                "it, or raise max_chars of the source and max_seed_chars of the game."
            )
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise RedteamError(f"{where} holds a lone surrogate, which is no character; repair it.")
        _check_split(seed.split, where)
        return replace(seed, text=text, source=seed.source or self.card.name)

    def _distinct(self, seeds: Sequence[Seed]) -> list[Seed]:
        first: dict[str, Seed] = {}
        contradictory: dict[str, Seed] = {}
        self.duplicates = 0
        for seed in seeds:
            key = normalise(seed.text)
            other = first.setdefault(key, seed)
            if other is seed:
                continue
            if other.split != seed.split:
                raise RedteamError(
                    f"The splits overlap: seed {other.id!r} ({other.split}) and seed {seed.id!r} "
                    f"({seed.split}) of {self.name!r} are the same text, {seed.text[:80]!r}. "
                    "Remove one of them, or let both fall into one split."
                )
            self.duplicates += 1
            if other.harmful != seed.harmful:
                contradictory[key] = seed
        for key in contradictory:
            del first[key]
        self.contradictions = len(contradictory)
        if contradictory:
            example = next(iter(contradictory.values()))
            notices.warn(
                f"{self.contradictions} texts of {self.name!r} are labelled both harmful and "
                f"benign and were left out, such as seed {example.id!r}.",
            )
        if not first:
            raise RedteamError(
                f"The seed source {self.name!r} is empty: each of its texts is labelled both "
                "harmful and benign. Correct the labels."
            )
        return list(first.values())

    def _none_left(self, *, harmful: bool, split: str) -> str:
        label = _LABELS[harmful]
        elsewhere = [s for s in SPLITS if self._pools[s, harmful]]
        found = f" (it has some in {elsewhere[0]!r})" if elsewhere else ""
        other = f"Write {self._resplit!r} for other splits. " if elsewhere and self._resplit else ""
        return (
            f"The seed source {self.name!r} has no {label} seed in the split {split!r}{found}. {other}"
            f"Combine it with one that has, such as '...,builtin?only={label}', or set "
            f"benign_fraction to {int(harmful)}."
        )


def combine(sources: Sequence[SeedSource]) -> ListSource:
    """Return the union of several sources.

    The ids become ``<source>/<id>``; where two sources have one name, the later ones are numbered.
    Splits may not overlap across sources either.

    Args:
        sources: At least one; they are listed in this order.

    Returns:
        A source with the cards of all.

    Raises:
        RedteamError: If there is none, or a text stands in the train split of one and the held-out
            split of another.
    """
    if not sources:
        raise RedteamError("No seed source to combine; name at least one.")
    met: Counter[str] = Counter()
    seeds: list[Seed] = []
    for source in sources:
        name = card_of(source).name
        met[name] += 1
        prefix = name if met[name] == 1 else f"{name}#{met[name]}"
        seeds += [replace(seed, id=f"{prefix}/{seed.id}") for seed in every_seed(source)]
    return _derived(seeds, sources)


def only_label(source: SeedSource, *, harmful: bool) -> ListSource:
    """Return a source with the seeds of one label only.

    Raises:
        RedteamError: If the source has none of that label.
    """
    kept = [seed for seed in every_seed(source) if seed.harmful is harmful]
    if not kept:
        raise RedteamError(
            f"The seed source {source.card.name!r} has no {_LABELS[harmful]} seed, so "
            f"only={_LABELS[harmful]} leaves nothing; use only={_LABELS[not harmful]} or leave it "
            "out."
        )
    return _derived(kept, [source])


def cards_of(source: SeedSource) -> tuple[DataCard, ...]:
    """Return the cards of all data in a source, whoever wrote it."""
    return source.cards if isinstance(source, ListSource) else (card_of(source),)


def every_seed(source: SeedSource) -> list[Seed]:
    """Return the seeds of all splits, training seeds first."""
    return [seed for split in SPLITS for seed in all_seeds(source, split)]


def _derived(seeds: Sequence[Seed], sources: Sequence[SeedSource]) -> ListSource:
    """Make a source of others' seeds, with their cards, counts and highest limit."""
    cards = list(dict.fromkeys(card for source in sources for card in cards_of(source)))
    lists = [source for source in sources if isinstance(source, ListSource)]
    limit = max((source.max_chars for source in lists), default=DEFAULT_MAX_CHARS)
    lines = any(source.keep_lines for source in lists)
    made = ListSource(seeds, cards[0], more_cards=cards[1:], max_chars=limit, keep_lines=lines)
    made.duplicates += sum(source.duplicates for source in lists)
    made.contradictions += sum(source.contradictions for source in lists)
    return made


def _check_split(split: str, where: str = "") -> None:
    if split not in SPLITS:
        error = unknown_name("split", split, SPLITS)
        raise RedteamError(f"{where}: {error}") if where else error
