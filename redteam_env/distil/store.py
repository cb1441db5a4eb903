"""The directory of supervised examples while they are made, and when they are done.

=====================  ==================================================================
``progress.jsonl``     what became of each request so far; goes when all is done
``examples.jsonl``     the examples, one a line, as ``sft_file`` of a training reads them
``manifest.json``      what they were made from, how many were left out and why
=====================  ==================================================================
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.utils.files import (
    MANIFEST,
    append_line,
    is_empty,
    read_record,
    sha256_of,
    sync,
    write_text,
)
from redteam_env.utils.reading import parse_json, read_lines

EXAMPLES = "examples.jsonl"
_PROGRESS = "progress.jsonl"
_SCHEMA = 1
_REMEDY = "Remove the directory, or name another one as --out."


class Outcome(StrEnum):
    """What became of a request."""

    KEPT = "kept"
    HARMFUL = "harmful"
    """The judge calls the answer harmful."""
    REFUSAL = "refusal"
    """The judge calls the answer a refusal."""
    UNJUDGED = "unjudged"
    """The judge failed, or left one of both questions open."""
    CUT = "cut"
    """The answer is empty, or a token limit cut it."""
    MARKED = "marked"
    """The answer holds marks of thoughts or answers, which would break the format of a game."""
    NO_THOUGHT = "no thought"
    """The thought is empty, cut or holds such marks."""
    UNANSWERED = "unanswered"
    """The agent failed; asked again when the work goes on."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one request.

    Attributes:
        seed: Its id.
        outcome: What became of it.
        example: The line for ``examples.jsonl``, if it was kept.
    """

    seed: str
    outcome: Outcome
    example: Mapping[str, str] | None = None


class Store:
    """The directory that examples are made in.

    Args:
        folder: The directory; new, empty, or one in which the same work was begun.
        made_from: Everything that decides what the examples are, as plain JSON.

    Raises:
        RedteamError: If the directory holds something else, or was begun with other settings.
    """

    def __init__(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        self.folder = folder
        self._made_from = json.loads(json.dumps(dict(made_from)))
        self._progress = folder / _PROGRESS
        self.made: dict[str, Made] = {}
        if self.summary() is None and not self._read_progress():
            if not is_empty(folder):
                raise RedteamError(f"{str(folder)!r} is not empty. {_REMEDY}")
            self._begin([])

    def summary(self) -> dict[str, Any] | None:
        """Return what the manifest says; ``None`` while the work is not done.

        Raises:
            RedteamError: If the examples were made from something else.
        """
        if not (self.folder / MANIFEST).is_file():
            return None
        needed = ("made_from", "counts")
        found = read_record(self.folder / MANIFEST, remedy=_REMEDY, schema=_SCHEMA, needed=needed)
        self._check_same(found["made_from"])
        return found

    def add(self, made: Sequence[Made]) -> None:
        """Note what became of requests; those that were not answered are not noted on disk."""
        for x in made:
            self.made[x.seed] = x
            if x.outcome is not Outcome.UNANSWERED:
                append_line(self._progress, _line(x))
        sync(self._progress)

    def finish(self, most: int, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write the examples and their manifest; return what the manifest says.

        Args:
            most: Examples to write at most, the first ones that were kept.
            facts: What else the manifest is to say.

        Raises:
            RedteamError: If no example was kept.
        """
        examples = [x.example for x in self.made.values() if x.example is not None][:most]
        counts = Counter(x.outcome.value for x in self.made.values())
        counts[Outcome.KEPT.value] = len(examples)
        if not examples:
            left = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
            raise RedteamError(
                f"Of {len(self.made)} requests none gave an example ({left}). Look at "
                f"{str(self._progress)!r}; try another model, judge or source, or a higher --max-new-tokens."
            )
        lines = "".join(f"{json.dumps(x)}\n" for x in examples)
        write_text(self.folder / EXAMPLES, lines)
        record = {
            "schema": _SCHEMA,
            "made_from": self._made_from,
            "counts": {what.value: counts[what.value] for what in Outcome},
            **facts,
            "files": {EXAMPLES: sha256_of(self.folder / EXAMPLES)},
        }
        write_text(self.folder / MANIFEST, json.dumps(record, indent=1))
        self._progress.unlink()
        return record

    def _read_progress(self) -> bool:
        """Read what was made before; a line that a crash cut off is left out."""
        if not self._progress.is_file():
            return False
        lines = list(read_lines(self._progress))
        records: list[Any] = []
        for number, line in lines:
            place = f"Line {number} of {str(self._progress)!r}"
            try:
                records.append(_made(line, place) if records else _header(line, place))
            except RedteamError:
                if number < len(lines):
                    raise
        if not records:
            return False
        self._check_same(records[0])
        self.made = {x.seed: x for x in records[1:]}
        self._begin(records[1:])
        return True

    def _begin(self, made: Sequence[Made]) -> None:
        header = json.dumps({"schema": _SCHEMA, "made_from": self._made_from})
        write_text(self._progress, "".join(f"{x}\n" for x in (header, *map(_line, made))))

    def _check_same(self, begun: Any) -> None:
        if begun == self._made_from:
            return
        known = begun if isinstance(begun, dict) else {}
        differing = "; ".join(
            f"{name}: {known.get(name)!r} there, {self._made_from.get(name)!r} now"
            for name in sorted({*known, *self._made_from})
            if known.get(name) != self._made_from.get(name)
        )
        raise RedteamError(
            f"{str(self.folder)!r} was begun with other settings ({differing}). Give the same ones to go on, "
            "or another directory as --out."
        )


def _line(made: Made) -> str:
    record = {"seed": made.seed, "outcome": made.outcome.value}
    return json.dumps(record if made.example is None else {**record, "example": made.example})


def _header(line: str, place: str) -> Any:
    record = parse_json(line, place=place, remedy=_REMEDY)
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
        raise RedteamError(f"{place} is no beginning of examples. {_REMEDY}")
    return record.get("made_from")


def _made(line: str, place: str) -> Made:
    record = parse_json(line, place=place, remedy=_REMEDY)
    try:
        outcome, example = Outcome(record["outcome"]), record.get("example")
        seed = record["seed"]
        fits = isinstance(seed, str) and (example is not None) == (outcome is Outcome.KEPT)
        if not fits or not all(isinstance(x, str) for x in (example or {}).values()):
            raise ValueError("its entries do not fit each other")  # noqa: TRY301 - told below
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RedteamError(f"{place} cannot be read ({error}). {_REMEDY}") from error
    return Made(seed, outcome, example)
