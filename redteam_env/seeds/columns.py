"""From the rows of somebody's table to seeds: which column is what, and which cells mean what.

Files and data sets of the hub share these options. Nothing is guessed from cells: a value that is
in neither list of labels is an error that names row, value and both lists. An error about an option
ends with the source as it should have been written.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from redteam_env.game import RedteamError, Seed, unknown_name
from redteam_env.seeds.layouts import layout_of
from redteam_env.seeds.source import DEFAULT_HELDOUT, DEFAULT_MAX_CHARS, stable_split
from redteam_env.utils.reading import parse_json

Row = tuple[int, Mapping[str, Any]]
"""A row's number, as the user counts them, and its cells by column."""

REQUESTS = (
    *("text", "prompt", "goal", "behavior", "behaviour", "question", "instruction", "request"),
    *("query", "forbidden_prompt", "messages", "conversations", "conversation"),
)
"""Columns that hold the request where none is named, in lower case; ``text`` before the others."""
CONTEXTS = ("context", "contextstring")
"""Columns that hold what a request is about where none is named, in lower case."""
OPTIONS = {
    "text": "column with the request: a text, or a list of messages whose last of the user counts "
    "(default: text, or the only one of prompt, goal, behavior, question, instruction, messages ...)",
    "context": "column with a text that the request is about, put before it (default: context or "
    "ContextString, if there is one; empty: none)",
    "label": "column with the label (default: harmful)",
    "harmful": "label cells that mean harmful, separated by | (default: true|1|yes|harmful|unsafe)",
    "benign": "label cells that mean benign (default: false|0|no|benign|unharmful|safe)",
    "all": "harmful or benign: the label of every row, instead of a label column",
    "category": "column with the category (default: category, if there is one)",
    "where": "only rows with these cells: COLUMN:CELL|CELL, several conditions with ; between them",
    "lines": "keep: line breaks within a text stay (default: they become spaces)",
    "split": "column with train or heldout/test/validation (default: split, if there is one; "
    "empty: none)",
    "heldout": f"held-out share where there is no split column (default: {DEFAULT_HELDOUT})",
    "max_chars": f"most characters of a text (default: {DEFAULT_MAX_CHARS})",
}
_HARMFUL = "true|1|yes|harmful|unsafe"
_BENIGN = "false|0|no|benign|unharmful|safe"
_WRITTEN = re.compile(r"\s*\[\s*\{\s*['\"](?:role|from|content|value)['\"]\s*:")
_MOST_SHOWN = 80
_MOST_LISTED = 20
_MOST_DIGITS = 9
_SPLITS = {"train": "train", "training": "train"} | dict.fromkeys(
    ("heldout", "held-out", "held_out", "test", "validation", "valid", "val", "dev", "eval"),
    "heldout",
)


def check_options(source: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse options that a seed source does not know.

    Raises:
        RedteamError: Naming the first unknown one and all that are allowed.
    """
    known = tuple(allowed)
    for name in given:
        if name not in known:
            raise unknown_name(f"option of the seed source {source!r}:", name, known)


def refuse_arguments(source: str, argument: str | None, options: Mapping[str, str]) -> None:
    """Refuse anything after the name of a source that is one fixed data set.

    Raises:
        RedteamError: If there is an argument or an option.
    """
    if argument is not None or options:
        extra = argument if argument is not None else next(iter(options))
        raise RedteamError(
            f"The seed source {source!r} is one fixed data set and takes neither an argument nor "
            f"options besides only=harmful|benign; remove {extra!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How a table is read.

    A column is named as in the table, or in another case if that leaves no doubt; ``a.b`` is what stands
    under ``b`` in the objects of the column ``a``.

    Attributes:
        text: Column with the request, or ``None`` for the one of :data:`REQUESTS` that is there.
        context: Column with what the request is about; ``None`` for one of :data:`CONTEXTS` if there is
            one, empty for none.
        label: Column with the label, or ``None`` if every row has the label ``all_harmful``.
        harmful: Cells that mean harmful, case-folded.
        benign: Cells that mean benign, case-folded.
        all_harmful: The label of every row where there is no label column.
        category: Column with the category, or ``None`` for ``category`` if there is one.
        where: Columns with the cells, case-folded, of the rows that are taken.
        keep_lines: Whether line breaks within a text stay.
        split: Column with the split; ``None`` for ``split`` if there is one, empty for none.
        heldout: Held-out share without a split column, or ``None`` for the default.
        max_chars: Most characters of a text.
        given: The options as they were given, for messages.
    """

    text: str | None = None
    context: str | None = None
    label: str | None = "harmful"
    harmful: tuple[str, ...] = tuple(_HARMFUL.split("|"))
    benign: tuple[str, ...] = tuple(_BENIGN.split("|"))
    all_harmful: bool | None = None
    category: str | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    keep_lines: bool = False
    split: str | None = None
    heldout: float | None = None
    max_chars: int = DEFAULT_MAX_CHARS
    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> "Columns":
        """Read the options of :data:`OPTIONS`; others are not looked at.

        Raises:
            RedteamError: If a value is wrong or two options contradict each other.
        """
        harmful, benign = (
            tuple(value.strip().casefold() for value in options.get(name, default).split("|"))
            for name, default in (("harmful", _HARMFUL), ("benign", _BENIGN))
        )
        both = sorted(set(harmful) & set(benign))
        if both:
            raise RedteamError(
                f"The label {both[0]!r} is listed as harmful and as benign; "
                "set both options, harmful=... and benign=..., so that they differ."
            )
        every = options.get("all")
        if every not in (None, "harmful", "benign"):
            raise RedteamError(f"all={_said(every)} is no label; write all=harmful or all=benign.")
        clash = [name for name in ("label", "harmful", "benign") if name in options]
        if every and clash:
            raise RedteamError(
                f"all={every} labels every row, so {clash[0]}={_said(options[clash[0]])} has no "
                "meaning; give one of the two."
            )
        return cls(
            text=options.get("text"),
            context=options.get("context"),
            label=None if every else options.get("label", "harmful"),
            harmful=harmful,
            benign=benign,
            all_harmful=every == "harmful" if every else None,
            category=options.get("category"),
            where=_conditions(options),
            keep_lines=_keeps_lines(options),
            split=options.get("split"),
            heldout=_share(options),
            max_chars=_limit(options),
            given=dict(options),
        )

    def read(
        self, rows: Iterable[Row], columns: Sequence[str], where: str, *, spec: str | None = None
    ) -> list[Seed]:
        """Make one seed of each row.

        Args:
            rows: The rows with their numbers.
            columns: All columns there are.
            where: Name of the table, used in ids (``where:row``) and errors.
            spec: The source as the user writes it, without options, for errors.

        Returns:
            The seeds in the order of the rows.

        Raises:
            RedteamError: If a named column is missing, a cell cannot be read, or ``where`` leaves no row.
        """
        used = self.found(columns, where, spec=spec)
        if used.split and used.heldout is not None:
            raise RedteamError(
                f"{where}: the column {used.split!r} gives the splits, so heldout={used.heldout} has "
                "no meaning; leave it out, or write split= to ignore the column."
            )
        taken = [(n, cells) for n, cells in rows if used.takes(cells)]
        if not taken:
            raise RedteamError(
                f"{where} has no row with where={_said(self.given.get('where', ''))}; check the cells."
            )
        return [_seed(used, cells, f"{where}:{n}", f"{where}, row {n}") for n, cells in taken]

    def takes(self, cells: Mapping[str, Any]) -> bool:
        """Return whether a row has the cells that ``where`` asks for."""
        return all(plain_cell(value_in(cells, column)) in wanted for column, wanted in self.where)

    def in_use(self) -> set[str]:
        """Return the names of the columns that are looked at, after :meth:`found`."""
        names = [self.text, self.context, self.label, self.category, self.split]
        names += [column for column, _ in self.where]
        return {part for name in names if name for part in (name, name.partition(".")[0])}

    def found(self, columns: Sequence[str], where: str, *, spec: str | None = None) -> "Columns":
        """Return the same with the names of columns that are there; empty for what is not looked at.

        Args:
            columns: All columns there are.
            where: Name of the table, for errors.
            spec: The source as the user writes it, without options, for errors.

        Raises:
            RedteamError: If a column that is named, or needed, is missing: it names the column, all
                that there are, and the option to set.
        """
        spec = where if spec is None else spec
        text = self.text if self.text is not None else self._request(columns, where, spec)
        there = {x.casefold(): x for x in reversed(columns) if x != text}
        context = next((there[x] for x in CONTEXTS if x in there), "")

        def column(option: str, name: str | None, default: str) -> str:
            if name is None:
                return default
            there = find_column(name, columns)
            if name and there is None:
                raise self._missing(option, name, columns, where, spec, text)
            return there or ""

        return replace(
            self,
            text=column("text", text, text),
            context=column("context", self.context, context),
            label=column("label", self.label, ""),
            category=column("category", self.category, find_column("category", columns) or ""),
            where=tuple((column("where", name, ""), cells) for name, cells in self.where),
            split=column("split", self.split, find_column("split", columns) or ""),
        )

    def _request(self, columns: Sequence[str], where: str, spec: str) -> str:
        if "text" in columns:
            return "text"
        likely = [column for column in columns if column.casefold() in REQUESTS]
        if len(likely) == 1:
            return likely[0]
        layout = layout_of(columns)
        if layout is not None:
            cure = self._written(spec, {"layout": layout})
        else:
            cure = self._written(spec, {"text": likely[0] if likely else "COLUMN"}, columns)
        reason = f"more than one column that may hold the request ({_listed(likely)})"
        raise RedteamError(
            f"{where} has {reason if likely else _no_column('text', 'text', columns)}. Name it with "
            f"text=COLUMN, as in {cure!r}."
        )

    def _missing(  # noqa: PLR0917 - the parts of one message
        self, option: str, name: str, columns: Sequence[str], where: str, spec: str, text: str
    ) -> RedteamError:
        cure = f"Name another with {option}=COLUMN"
        if option == "label":
            layout = None if "text" in self.given else layout_of(columns)
            own = {"layout": layout} if layout else {"text": text}
            if not layout:
                own |= {"all": "harmful"}
            cure += ", or say all=harmful or all=benign"
            written = self._written(spec, own)
        else:
            written = self._written(spec, {option: "COLUMN"}, columns)
        return RedteamError(
            f"{where} has {_no_column(name, option, columns)}. {cure}, as in {written!r}."
        )

    def _written(
        self, spec: str, changes: Mapping[str, str], columns: Sequence[str] | None = None
    ) -> str:
        """Return the source with changed options; with columns, also a label if none is there."""
        options = {**self.given, **changes}
        if columns is not None and self.label and find_column(self.label, columns) is None:
            options["all"] = "harmful"
        if "all" in options:
            options = {x: y for x, y in options.items() if x not in {"label", "harmful", "benign"}}
        if options.get("text") == "text":
            del options["text"]
        return written(spec, options)


def written(spec: str, options: Mapping[str, str]) -> str:
    """Return a source with its options as the user writes it."""
    pairs = [f"{name}={quote(value, safe='|/.:')}" for name, value in options.items()]
    return f"{spec}?{'&'.join(pairs)}" if pairs else spec


def _seed(used: Columns, cells: Mapping[str, Any], name: str, place: str) -> Seed:
    text = _request_of(value_in(cells, used.text or ""), used.text or "", place)
    context = value_in(cells, used.context) if used.context else None
    if isinstance(context, str) and context.strip():
        text = f"{context}\n\n---\n\n{text}"  # as HarmBench joins them
    elif context is not None and not isinstance(context, str):
        raise RedteamError(
            f"{place}: the column {used.context!r} holds {_shown(context)} instead of a text; write "
            "context= to ignore the column."
        )
    share = DEFAULT_HELDOUT if used.heldout is None else used.heldout
    return Seed(
        id=name,
        text=text,
        harmful=_label_of(used, cells, place),
        category=_category(value_in(cells, used.category)) if used.category else "",
        split=_split(cells, used.split, place) if used.split else stable_split(text, share),
    )


def _label_of(used: Columns, cells: Mapping[str, Any], place: str) -> bool:
    if not used.label:
        return bool(used.all_harmful)
    found = value_in(cells, used.label)
    value = plain_cell(found)
    if value in used.harmful:
        return True
    if value in used.benign:
        return False
    raise RedteamError(
        f"{place}: the column {used.label!r} holds {_shown(found)}, which is neither "
        f"harmful ({' | '.join(used.harmful)}) nor benign ({' | '.join(used.benign)}); extend "
        "the lists with harmful=A|B and benign=C|D."
    )


def find_column(name: str, columns: Sequence[str]) -> str | None:
    """Return how the table writes a column's name, ``None`` if it has none of that name."""
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    top, dot, rest = name.partition(".")
    outer = find_column(top, columns) if dot and rest else None
    return None if outer is None else f"{outer}.{rest}"


def value_in(cells: Mapping[str, Any], column: str) -> Any:
    """Return what a row has in a column, ``None`` if it has nothing there."""
    if column in cells:
        return cells[column]
    top, dot, rest = column.partition(".")
    inner = cells.get(top) if dot else None
    return value_in(inner, rest) if isinstance(inner, dict) else None


def _no_column(name: str, option: str, columns: Sequence[str]) -> str:
    return f"no column {name!r} for the {option}; its columns are {_listed(columns)}"


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _MOST_LISTED} more" if len(columns) > _MOST_LISTED else ""
    return ", ".join(_shown(column) for column in columns[:_MOST_LISTED]) + more


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _said(value: str) -> str:
    """Return the value of an option on one line."""
    return _shown(value).strip("'\"")


def _request_of(cell: object, column: str, place: str) -> str:
    """Return the text of a cell, or the last message of the user of a list of messages."""
    found = _messages(cell, column, place) if isinstance(cell, str) else cell
    text = _last_of_user(found, column, place) if isinstance(found, list) else found
    if not isinstance(text, str) or not text.strip():
        raise RedteamError(
            f"{place}: the column {column!r} holds {_shown(cell)} instead of a text; fill it in or "
            "remove the row."
        )
    return text


def _messages(cell: str, column: str, place: str) -> object:
    """Return a list of messages that was written into a table as JSON; any other text as it is."""
    if _WRITTEN.match(cell) is None:
        return cell
    remedy = "It looks like a list of messages; write it as JSON."
    return parse_json(cell, place=f"{place}: the column {column!r}", remedy=remedy)


def _last_of_user(messages: Sequence[object], column: str, place: str) -> str:
    for message in reversed(messages):
        if not isinstance(message, dict):
            break
        if message.get("role", message.get("from")) in {"user", "human"}:
            content = message.get("content", message.get("value"))
            if isinstance(content, list):  # parts, of which only texts can be asked
                parts = [x.get("text") for x in content if isinstance(x, dict)]
                content = "\n".join(part for part in parts if isinstance(part, str))
            return content if isinstance(content, str) else ""
    raise RedteamError(
        f"{place}: the column {column!r} holds {_shown(messages)}, a list without a message of the "
        'user; messages look like {"role": "user", "content": "..."}.'
    )


def plain_cell(cell: Any) -> str:
    """A cell as lower-case text: true for True, 1 for 1.0, empty for nothing."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip().casefold()


def _category(cell: Any) -> str:
    if isinstance(cell, list | tuple):
        return "/".join(str(part) for part in cell)
    return "" if cell is None else str(cell).strip()


def _split(cells: Mapping[str, Any], column: str, place: str) -> str:
    found = value_in(cells, column)
    value = plain_cell(found)
    if value not in _SPLITS:
        raise RedteamError(
            f"{place}: the column {column!r} holds {_shown(found)}, which is no split; "
            f"known are {', '.join(_SPLITS)}. Write split= to ignore the column."
        )
    return _SPLITS[value]


def _conditions(options: Mapping[str, str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if "where" not in options:
        return ()
    found = []
    for part in options["where"].split(";"):
        column, colon, cells = part.rpartition(":")
        if not colon or not column.strip():
            raise RedteamError(
                f"where={_said(options['where'])} is no condition; write COLUMN:CELL|CELL, such as "
                "where=type:contrast|other."
            )
        wanted = tuple(cell.strip().casefold() for cell in cells.split("|"))
        found.append((column.strip(), wanted))
    return tuple(found)


def _keeps_lines(options: Mapping[str, str]) -> bool:
    if options.get("lines", "keep") != "keep":
        raise RedteamError(
            f"lines={_said(options['lines'])} is not known; write lines=keep, or leave it out."
        )
    return "lines" in options


def _share(options: Mapping[str, str]) -> float | None:
    if "heldout" not in options:
        return None
    try:
        share = float(options["heldout"])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise RedteamError(
            f"heldout={_said(options['heldout'])} is no share; give 0 to 1, such as 0.2."
        )
    return share


def _limit(options: Mapping[str, str]) -> int:
    value = options.get("max_chars", str(DEFAULT_MAX_CHARS))
    if not value.isdecimal() or len(value) > _MOST_DIGITS or int(value) < 1:
        raise RedteamError(f"max_chars={_said(value)} is no limit; give a whole number above 0.")
    return int(value)
