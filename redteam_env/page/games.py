"""Games as compact data for the page's browser: JSON, packed with gzip, in base64.

In this form no text of a player can be read as markup, whatever it holds. Texts are left out unless the user
asks for them or the world is invented: what is not in the file cannot be seen by who gets it.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from redteam_env.evaluation.rates import OUTCOMES
from redteam_env.game import ATTACKER, DEFENDER, Episode, Turn
from redteam_env.page.blocks import shown
from redteam_env.page.sources import Source
from redteam_env.utils.text import escape_controls
from redteam_env.worlds.apothecary import ApothecaryJudge

INVENTED = frozenset({"apothecary"})
"""Sources of seeds in which everything is invented."""
MOST_BYTES = 4_000_000
"""Of the packed games; with their texts longer ones are cut further until they fit."""
LENGTHS = (4000, 2000, 1000, 500, 250, 100)
"""Most characters of a text: the first at which the games fit."""
FORM = "form_"
RARE_DIGITS = 3
_SAMPLE = 400
"""Games that are packed to see how long texts may be."""
Row = tuple[int, str, Episode, Sequence[str]]
"""The place of a source, what its group is called, a game, and its tactics."""


class Texts(StrEnum):
    """What the page does with what players wrote."""

    ABSENT = "absent"
    FOLDED = "folded"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Games for the page.

    Attributes:
        data: The packed data.
        texts: What is done with texts.
        length: Most characters of a text.
        games: How many games it holds.
        left_out: How many it does not.
    """

    data: str
    texts: Texts
    length: int
    games: int
    left_out: int


def pack(sources: Sequence[Source], *, show_text: bool, most: int) -> Packed:
    """Return games as data for the page.

    Args:
        sources: Where the games are.
        show_text: Whether what players wrote is part of it, also where seeds are real.
        most: Most games; of more, as many are taken at even distances.
    """
    games = [
        (place, group.title, episode)
        for place, source in enumerate(sources)
        for group in source.games
        for episode in group.episodes
    ]
    chosen = _spread(games, most)
    texts = texts_of([x for _, _, x in chosen], show_text=show_text)
    tactics = _tactics([x for _, _, x in chosen])
    names = [source.name for source in sources]
    rows = [(*x, own) for x, own in zip(chosen, tactics, strict=True)]
    for length in _lengths(names, rows, texts):
        data = _packed(names, rows, texts, length)
        if len(data) <= MOST_BYTES:
            break
    return Packed(
        data=data,
        texts=texts,
        length=length,
        games=len(chosen),
        left_out=len(games) - len(chosen),
    )


def texts_of(episodes: Sequence[Episode], *, show_text: bool) -> Texts:
    """Return what is done with the texts of games: they are open only where every seed is invented.

    Args:
        episodes: The games.
        show_text: Whether the user asked for the texts of others.
    """
    if episodes and all(x.seed.source in INVENTED for x in episodes):
        return Texts.OPEN
    return Texts.FOLDED if show_text else Texts.ABSENT


def outcome(episode: Episode) -> str:
    """Return in a few words how a game ended, by the events that the rates count."""
    if episode.void is not None:
        return "void"
    if episode.forfeit is not None:
        return "defender forfeited" if episode.forfeit == DEFENDER else "attacker forfeited"
    if episode.verdict is None:
        return "not judged"
    refused = episode.verdict.response_refusal
    if not episode.seed.harmful:
        return "benign, refused" if refused else "benign, answered"
    name = "attack_success" if episode.rewritten else "raw_attack_success"
    if OUTCOMES[name](episode):
        return "harm told"
    return "harmful, refused" if refused else "harmful, no harm told"


def _lengths(names: Sequence[str], rows: Sequence[Row], texts: Texts) -> Sequence[int]:
    """Return the lengths of texts to try, from the first at which a sample says that the games fit."""
    if texts is Texts.ABSENT or len(rows) <= 2 * _SAMPLE:
        return LENGTHS
    sample = _spread(rows, _SAMPLE)
    room = MOST_BYTES * len(sample) / len(rows)
    for place, length in enumerate(LENGTHS):
        if len(_packed(names, sample, texts, length)) <= room:
            return LENGTHS[place:]
    return LENGTHS[-1:]


def _packed(names: Sequence[str], rows: Sequence[Row], texts: Texts, length: int) -> str:
    table = _Table(names, texts, length)
    for row in rows:
        table.add(*row)
    return table.packed()


class _Table:
    """Collects games; texts that come again and again are stored once."""

    def __init__(self, sources: Sequence[str], texts: Texts, length: int) -> None:
        self._sources = list(sources)
        self._texts = texts
        self._length = length
        self._words: dict[str, int] = {}
        self._games: list[list[Any]] = []

    def add(self, source: int, group: str, episode: Episode, tactics: Sequence[str]) -> None:
        """Add a game."""
        self._games.append(
            [
                source,
                self._word(group),
                self._word(outcome(episode)),
                self._word(shown(episode.seed.category, 60)),
                [self._word(x) for x in tactics],
                int(episode.seed.harmful),
                int(episode.rewritten),
                self._word(shown(episode.seed.id, 80)),
                self._text(episode.seed.text),
                [self._turn(turn) for turn in episode.turns],
                self._verdict(episode),
                {
                    self._word(shown(seat, 40)): [
                        _short(episode.rewards.get(seat)),
                        {self._word(shown(k, 40)): _short(x) for k, x in parts.items()},
                    ]
                    for seat, parts in episode.components.items()
                },
                None if episode.void is None else self._reason(episode.void),
                _flag(episode.faithful),
                self._word("/".join(shown(x, 40) for x in episode.path)),
            ]
        )

    def packed(self) -> str:
        """Return all as base64 of gzip of JSON."""
        record = {
            "sources": [shown(x, 80) for x in self._sources],
            "words": list(self._words),
            "games": self._games,
            "seats": [ATTACKER, DEFENDER],
            "texts": self._texts,
        }
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        # the same games make the same file
        return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")

    def _word(self, text: str) -> int:
        return self._words.setdefault(text, len(self._words))

    def _text(self, text: str) -> str | int:
        """Return a text, or only how long it is."""
        if self._texts is Texts.ABSENT:
            return len(text)
        cut = escape_controls(text[: self._length])
        rest = len(text) - self._length
        return cut if rest <= 0 else f"{cut}\n[{rest:,} more characters]"

    def _turn(self, turn: Turn) -> list[Any]:
        flags = {
            "broken format": not turn.well_formed,
            "forfeit": turn.forfeit,
            "cut": turn.truncated or (turn.generation is not None and not turn.generation.finished),
            "no answer": turn.error is not None,
        }
        by = turn.generation
        writer = "" if by is None else f"{shown(by.adapter, 60)}, {by.version} updates"
        return [
            self._word(shown(turn.seat, 40)),
            self._text(turn.visible),
            self._text(turn.thought) if turn.thought else 0,
            [self._word(name) for name, on in flags.items() if on],
            self._word(writer),
        ]

    def _verdict(self, episode: Episode) -> list[Any] | None:
        verdict = episode.verdict
        if verdict is None:
            return None
        fields = (verdict.prompt_harmful, verdict.response_refusal, verdict.response_harmful)
        return [
            *map(_flag, fields),
            None if verdict.score is None else _short(verdict.score),
            self._word(shown(verdict.judge)),
            self._text(verdict.raw) if verdict.raw else 0,
        ]

    def _reason(self, reason: str) -> int:
        """Return why a game is void; what follows a colon may quote a player."""
        redacted = self._texts is Texts.ABSENT
        return self._word(shown(reason.partition(":")[0] if redacted else reason))


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), RARE_DIGITS)


def _spread(games: Sequence[Any], most: int) -> list[Any]:
    places = np.linspace(0, len(games) - 1, min(len(games), most)).round().astype(int)
    return [games[k] for k in places]


def _tactics(episodes: Sequence[Episode]) -> list[tuple[str, ...]]:
    """Return the ways in which each rewrite hides a name, where a world's judge can tell."""
    judge = ApothecaryJudge()
    return [tuple(_forms(judge.outcomes(x))) if x.seed.source in INVENTED else () for x in episodes]


def _forms(outcomes: Mapping[str, bool]) -> list[str]:
    return [
        name.removeprefix(FORM)
        for name, happened in outcomes.items()
        if happened and name.startswith(FORM)
    ]
