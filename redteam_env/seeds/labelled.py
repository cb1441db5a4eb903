"""Dialogues that people labelled, by which judges are measured.

A specification is a comma-separated union of parts, as for seeds. A part is the name of a known set
(``pyrit_refusal``), a group of them (``pyrit``), or the path of a file with options behind it:
``answers.csv?prompt=question&response=answer&response_harmful=unsafe``. What a known set is stands in its
card, ``redteam_env/data/labels/NAME.toml``.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, unknown_name
from redteam_env.protocols import DataCard
from redteam_env.seeds.columns import find_column, plain_cell, value_in
from redteam_env.seeds.files import FILE_ENDINGS, FILE_OPTIONS, read_table
from redteam_env.utils.files import sha256_of
from redteam_env.utils.lists import queried
from redteam_env.utils.packages import Member, fetch_several
from redteam_env.utils.reading import parse_toml

FIELDS: Mapping[str, tuple[str, ...]] = {
    "prompt_harmful": ("prompt_harmful", "prompt_harm_label"),
    "response_refusal": ("response_refusal", "response_refusal_label"),
    "response_harmful": ("response_harmful", "response_harm_label"),
}
"""The three questions, each with the columns that hold its label where none is named."""
GROUPS: Mapping[str, tuple[str, ...]] = {"pyrit": ("pyrit_refusal", "pyrit_harm")}
"""Known sets under one name; each label belongs to one of the three questions."""
OPTIONS = {
    "prompt": "column with the request (default: prompt, objective, question or text)",
    "response": "column with the answer (default: response, assistant_response, completion or answer)",
    **{
        name: f"column with the label of {name} (default: {own[0]})" for name, own in FIELDS.items()
    },
    "threshold": "for labels that are scores: the least one that means yes",
    "rows": FILE_OPTIONS["rows"],
}
_PROMPTS = ("prompt", "objective", "question", "text")
_RESPONSES = ("response", "assistant_response", "completion", "answer")
_YES = frozenset({"true", "1", "yes", "harmful", "unsafe", "refusal"})
_NO = frozenset({"false", "0", "no", "benign", "unharmful", "safe", "compliance"})
_UNLABELLED = frozenset({"", "n/a", "na", "nan", "null", "none", "unknown"})
_FOLDER = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A dialogue and what people said of it.

    Attributes:
        dialogue: One request and its answer.
        labels: True or false for some of the three questions, by the name of a verdict's field.
        source: Name of the set that it belongs to.
    """

    dialogue: Dialogue
    labels: Mapping[str, bool]
    source: str

    @property
    def cluster(self) -> str:
        """What is the same for dialogues about the same request, however it is spaced or capitalised."""
        return " ".join(self.dialogue.prompt.casefold().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """Labelled dialogues, and where they come from.

    Attributes:
        rows: The dialogues.
        cards: Where each part comes from.
    """

    rows: tuple[Labelled, ...]
    cards: tuple[DataCard, ...]

    @property
    def name(self) -> str:
        """What reports call it."""
        return ", ".join(card.name for card in self.cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCard:
    """A known set, inside a published package.

    Attributes:
        label: The question that it answers, a field of a verdict.
        prompt: Column of the request.
        response: Column of the answer.
        scores: Columns of people's scores in [0, 1]; the mean of those that a row has counts.
        threshold: The least mean that is a yes.
        rows: How many dialogues it has.
        project: The package.
        version: Its version.
        licence: Of the data.
        citation: What to cite.
        files: The files in the package, with their SHA-256.
    """

    label: str
    prompt: str
    response: str
    scores: tuple[str, ...]
    threshold: float
    rows: int
    project: str
    version: str
    licence: str
    citation: str
    files: Mapping[str, str]

    @property
    def members(self) -> list[Member]:
        """The files to fetch."""
        return [
            Member(project=self.project, version=self.version, name=name, sha256=digest)
            for name, digest in self.files.items()
        ]


def known_sets() -> tuple[str, ...]:
    """Return the names of the known sets, sorted."""
    return tuple(sorted(x.name.removesuffix(".toml") for x in _cards().iterdir()))


def card_named(name: str) -> LabelCard:
    """Return the card of a known set.

    Raises:
        RedteamError: If there is none of that name.
    """
    if name not in known_sets():
        raise unknown_name("labelled set", name, known_sets())
    found = parse_toml((_cards() / f"{name}.toml").read_text(encoding="utf-8"), place=name)
    return LabelCard(**{**found, "scores": tuple(found["scores"])})


def resolve_labels(spec: str) -> LabelledSet:
    """Return labelled dialogues.

    Args:
        spec: A specification as this module describes it.

    Raises:
        RedteamError: If a name is unknown, a file cannot be read, or nothing in it is labelled.
    """
    parts = [part.strip() for part in spec.split(",")]
    if not all(parts):
        raise RedteamError(
            f"The labels {spec!r} have an empty part; write one set, or several between commas. Sets: "
            f"{', '.join((*GROUPS, *known_sets()))}, or the path of a file."
        )
    names = dict.fromkeys(name for part in parts for name in GROUPS.get(part, (part,)))
    sets = [_part(name) for name in names]
    return LabelledSet(
        rows=tuple(row for own in sets for row in own.rows),
        cards=tuple(card for own in sets for card in own.cards),
    )


def _part(part: str) -> LabelledSet:
    head, options = queried(part)
    if head in known_sets():
        _check_options(head, options, ())
        return _known(head, card_named(head))
    if not head.lower().endswith(FILE_ENDINGS) and not Path(head).expanduser().exists():
        raise unknown_name(
            "labelled set",
            head,
            (*GROUPS, *known_sets()),
            hint="A file is named by its path (.csv, .tsv, .json, .jsonl, .parquet).",
        )
    return _from_file(head, options)


def _check_options(part: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    for name in given:
        if name not in set(allowed):
            raise unknown_name(f"option of the labels {part!r}:", name, tuple(allowed))


def _known(name: str, card: LabelCard) -> LabelledSet:
    paths = fetch_several(card.members)
    rows = [
        _dialogue(
            row[card.prompt],
            row[card.response],
            {card.label: _mean(row, card.scores) >= card.threshold},
            name,
        )
        for path in paths
        for row in _table(path.read_text(encoding="utf-8"))
    ]
    digest = hashlib.sha256("".join(card.files.values()).encode()).hexdigest()
    data = DataCard(
        name=name,
        licence=card.licence,
        revision=f"{card.project} {card.version}",
        sha256=digest,
        origin=f"{len(card.files)} files of the package {card.project} {card.version}",
        citation=card.citation,
    )
    return LabelledSet(rows=tuple(rows), cards=(data,))


def _table(text: str) -> Iterable[Mapping[str, str]]:
    """Read a table that may begin with lines of comment."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        del lines[0]
    return csv.DictReader(io.StringIO("".join(lines), newline=""), strict=True)


def _mean(row: Mapping[str, str], columns: Sequence[str]) -> float:
    scores = [float(row[x]) for x in columns if row.get(x)]
    return math.fsum(scores) / len(scores)


def _from_file(argument: str, options: Mapping[str, str]) -> LabelledSet:
    _check_options(argument, options, OPTIONS)
    path = Path(argument).expanduser()
    if not path.is_file():
        raise RedteamError(
            f"There is no file {argument!r} with labels; check the path, which is taken from the "
            "working directory."
        )
    table, columns = read_table(path, argument, options)
    texts = {
        "prompt": _column("prompt", options, _PROMPTS, columns, path.name),
        "response": _column("response", options, _RESPONSES, columns, path.name),
    }
    labels = {
        name: column
        for name, usual in FIELDS.items()
        if (column := _label_column(name, options, usual, columns, path.name)) is not None
    }
    if not labels:
        raise RedteamError(
            f"{path.name} has no column of labels; its columns are {', '.join(columns)}. Name one with "
            f"{', '.join(f'{name}=COLUMN' for name in FIELDS)}."
        )
    threshold = _threshold(options)
    rows = []
    for number, cells in table:
        place = f"{path.name}, row {number}"
        said = {
            name: _label(value_in(cells, column), threshold, f"{place}, column {column!r}")
            for name, column in labels.items()
        }
        found = {name: x for name, x in said.items() if x is not None}
        if found:
            prompt, response = (_text(value_in(cells, texts[x]), texts[x], place) for x in texts)
            rows.append(_dialogue(prompt, response, found, path.name))
    if not rows:
        raise RedteamError(
            f"No row of {path.name} is labelled; fill in {', '.join(labels.values())}."
        )
    card = DataCard(
        name=path.name,
        licence="not stated (a user's file)",
        revision="",
        sha256=sha256_of(path),
        origin=argument,
        citation="",
    )
    return LabelledSet(rows=tuple(rows), cards=(card,))


def _column(
    option: str,
    options: Mapping[str, str],
    usual: Sequence[str],
    columns: Sequence[str],
    where: str,
) -> str:
    wanted = (options[option],) if option in options else usual
    found = [x for name in wanted if (x := find_column(name, columns)) is not None]
    if not found:
        raise RedteamError(
            f"{where} has no column {' or '.join(map(repr, wanted))} for the {option}; its columns are "
            f"{', '.join(columns)}. Name another with {option}=COLUMN."
        )
    return found[0]


def _label_column(
    name: str,
    options: Mapping[str, str],
    usual: Sequence[str],
    columns: Sequence[str],
    where: str,
) -> str | None:
    if name in options:
        return _column(name, options, usual, columns, where)
    return next((x for own in usual if (x := find_column(own, columns)) is not None), None)


def _threshold(options: Mapping[str, str]) -> float | None:
    if "threshold" not in options:
        return None
    try:
        value = float(options["threshold"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RedteamError(
            f"threshold={options['threshold'][:80]!r} is no number; give the least score that means yes."
        )
    return value


def _label(cell: Any, threshold: float | None, place: str) -> bool | None:
    value = plain_cell(cell)
    if value in _UNLABELLED:
        return None
    if threshold is not None:
        try:
            score = float(value)
        except ValueError:
            score = math.nan
        if math.isfinite(score):
            return score >= threshold
    elif value in _YES | _NO:
        return value in _YES
    raise RedteamError(
        f"{place} holds {value[:80]!r}, which is no label: write yes or no (true, false, 1, 0, harmful, "
        "unharmful, refusal, compliance), leave it empty, or say from which score on it means yes with "
        "threshold=0.5."
    )


def _text(cell: Any, column: str, place: str) -> str:
    if not isinstance(cell, str):
        raise RedteamError(
            f"{place}: the column {column!r} holds {type(cell).__name__} instead of a text; fill it in or "
            "remove the row."
        )
    return cell


def _dialogue(prompt: str, response: str, labels: Mapping[str, bool], source: str) -> Labelled:
    lines = (Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response))
    return Labelled(dialogue=Dialogue(lines=lines), labels=labels, source=source)


def _cards() -> Any:
    return files("redteam_env") / "data" / _FOLDER
