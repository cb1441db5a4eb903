"""Seeds from a user's own file: CSV, text, JSON, JSON lines or parquet, with a column mapping."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import DataCard
from redteam_env.seeds.columns import OPTIONS, REQUESTS, Columns, Row, check_options, written
from redteam_env.seeds.layouts import LAYOUTS, layout_named
from redteam_env.seeds.source import ListSource
from redteam_env.utils.files import sha256_of
from redteam_env.utils.places import code_hint
from redteam_env.utils.reading import (
    first_json,
    parse_json,
    read_csv,
    read_lines,
    read_parquet,
    read_text,
)

Table = tuple[list[Row], list[str]]
"""Numbered rows, and the names of all columns."""

FILE_OPTIONS = {
    "layout": f"a published set whose columns are known: {', '.join(LAYOUTS)}",
    "rows": "for .json: where the list of rows stands, the keys from the outside in with dots between",
}
_JSON = ".json"
_ONE_A_LINE = "Each line must be one object."
_MOST_LISTS = 3
_MOST_LEVELS = 4
_LONGEST_INDEX = 9


def from_file(argument: str | None = None, **options: str) -> ListSource:
    """Return the seeds of a file.

    The ending tells the format, and ``.gz`` behind it that it is packed:

    ===================  ============================================================================
    ``.csv``, ``.tsv``   a header line and rows; commas, semicolons or tabs between the cells
    ``.txt``             one request a line
    ``.jsonl``           one object, or one text, a line
    ``.json``            a list of objects or texts, an object that holds one (``rows=a.b``), or JSON lines
    ``.parquet``         a table; nested columns are reached with dots (``label=reward.truth``)
    ===================  ============================================================================

    Text is UTF-8. Rows count from 1 without the header; in text and JSON lines, a row is a line of the
    file.

    Args:
        argument: Path of the file.
        **options: See :data:`FILE_OPTIONS` and :data:`redteam_env.seeds.columns.OPTIONS`.

    Raises:
        RedteamError: If the file is missing, empty, too large or not what its ending says, a column is
            missing, or a cell cannot be read.
    """
    check_options("file", options, FILE_OPTIONS | OPTIONS)
    if not argument:
        raise RedteamError(
            "The seed source 'file' needs a path, as in file:seeds.csv or seeds.csv?label=toxic."
        )
    path = Path(argument).expanduser()
    if path.is_dir():
        raise RedteamError(
            f"{argument} is a folder; name a file in it, or hub:{argument} for a folder that holds "
            "a data set."
        )
    if not path.is_file():
        raise RedteamError(
            f"There is no seed file {argument!r}; check the path, which is taken from the working "
            "directory."
        )
    layout = layout_named(options["layout"]) if "layout" in options else None
    mapping = Columns.from_options(options)
    rows, columns = read_table(path, argument, options)
    if not rows:
        raise RedteamError(f"The seed file {argument!r} is empty; it needs at least one row.")
    if layout is not None:
        mapping = Columns.from_options(layout.options(options, columns, path.name))
    mapping = mapping.found(columns, path.name, spec=argument)
    card = DataCard(
        name=path.name,
        licence="not stated (a user's file)",
        revision="",
        sha256=sha256_of(path),
        origin=argument,
        citation=layout.citation if layout else "",
    )
    return ListSource(
        mapping.read(rows, columns, path.name),
        card,
        max_chars=mapping.max_chars,
        keep_lines=mapping.keep_lines,
        resplit="" if mapping.split else written(argument, {**options, "heldout": "0.5"}),
    )


def read_table(path: Path, argument: str, options: Mapping[str, str]) -> Table:
    """Return the rows of a file of any format that :func:`from_file` reads, and its columns.

    Args:
        path: The file.
        argument: What the user called it, for messages.
        options: ``rows`` of :data:`FILE_OPTIONS`; others are not looked at.

    Raises:
        RedteamError: If the file cannot be read, is too large, or not what its ending says.
    """
    ending = path.suffix.lower()
    if ending == ".gz":
        ending = Path(path.stem).suffix.lower()
    if ending not in _ENDINGS:
        hint = code_hint(argument)
        raise unknown_name(f"ending of the file {argument!r}:", ending, _ENDINGS, hint=hint)
    if "rows" in options and ending != _JSON:
        raise RedteamError(
            f"rows={options['rows']!r} says where in a .json file the rows stand; {path.name} has no "
            "such place. Leave it out."
        )
    try:
        if ending == _JSON:
            return _read_json(path, argument, options)
        rows, columns = _READERS[ending](path)
    except OSError as error:
        raise RedteamError(f"{argument!r} cannot be read ({error.strerror}).") from error
    # spreadsheets leave empty columns behind the others, without a name
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise RedteamError(f"{path.name} has two columns {repeated[0]!r}; rename one.")
    return rows, columns


def _read_csv(path: Path) -> Table:
    columns, rows = read_csv(path)
    found: list[Row] = [
        (number, dict(zip(columns, cells, strict=True)))
        for number, (_, cells) in enumerate(rows, 1)
    ]
    return found, columns


def _read_text(path: Path) -> Table:
    return [(n, {"text": line}) for n, line in read_lines(path) if line.strip()], ["text"]


def _read_json_lines(path: Path) -> Table:
    rows = []
    for number, line in read_lines(path):
        if line.strip():
            place = f"{path.name}, row {number}"
            rows.append((number, parse_json(line, place=place, remedy=_ONE_A_LINE)))
    return _objects(path, rows, "write one object a line")


def _objects(path: Path, rows: list[tuple[int, Any]], cure: str) -> Table:
    if rows and all(isinstance(cells, str) for _, cells in rows):
        return [(number, {"text": text}) for number, text in rows], ["text"]
    columns: dict[str, None] = {}
    for number, cells in rows:
        if not isinstance(cells, dict):
            raise RedteamError(
                f"{path.name}, row {number} is {type(cells).__name__}, not an object; {cure}, such as "
                '{"text": "...", "harmful": true}.'
            )
        columns |= dict.fromkeys(cells)
    return rows, list(columns)


def _read_json(path: Path, argument: str, options: Mapping[str, str]) -> Table:
    """Read a list of objects, one that stands in an object, or one object a line."""
    text = read_text(path)
    if not text.strip():
        return [], []
    content, behind = first_json(text, place=path.name)
    if behind:
        if "rows" in options:
            raise RedteamError(
                f"{path.name} holds more than one JSON value, so rows={options['rows']!r} has no meaning; "
                "leave it out."
            )
        return _read_json_lines(path)
    lists = _lists_of_objects(content)
    if "rows" in options:
        content = _at(content, options["rows"], path, lists)
    elif isinstance(content, dict) and lists and not _is_row(content, options):
        written_so = [repr(written(argument, {**options, "rows": x})) for x in lists[:_MOST_LISTS]]
        raise RedteamError(
            f"{path.name} is one object, and its rows stand inside; write {' or '.join(written_so)}."
        )
    rows = content if isinstance(content, list) else [content]
    return _objects(path, list(enumerate(rows, 1)), "a row is an object")


def _is_row(content: Mapping[str, Any], options: Mapping[str, str]) -> bool:
    if "text" in options:
        return options["text"].partition(".")[0] in content
    return any(key.casefold() in REQUESTS for key in content)


def _at(content: Any, where: str, path: Path, lists: list[str]) -> Any:
    """Return what stands under keys with dots between them."""
    inner = content
    for key in where.split("."):
        if isinstance(inner, list) and key.isdecimal() and len(key) < _LONGEST_INDEX:
            inner = inner[int(key)] if int(key) < len(inner) else None
        elif isinstance(inner, dict) and key in inner:
            inner = inner[key]
        else:
            inner = None
            break
    if not isinstance(inner, list):
        known = f"lists of objects stand under {', '.join(lists)}" if lists else "there is none"
        raise RedteamError(f"{path.name} has no list of rows under {where!r}; {known}.")
    return inner


def _lists_of_objects(content: Any) -> list[str]:
    """Return the paths of lists that begin with an object, the outermost first."""
    found, level = [], [("", content)]
    for _ in range(_MOST_LEVELS):
        inner = [
            (f"{place}.{key}".lstrip("."), value)
            for place, holder in level
            if isinstance(holder, dict)
            for key, value in holder.items()
        ]
        found += [x for x, y in inner if isinstance(y, list) and y and isinstance(y[0], dict)]
        level = inner
    return found


def _read_parquet(path: Path) -> Table:
    table = read_parquet(path, remedy="Write it anew.")
    names = list(table.column_names)
    try:
        cells = [column.to_pylist() for column in table.columns]
    except (
        ValueError,
        OverflowError,
        LookupError,
    ) as error:  # a date or time zone that Python lacks
        raise RedteamError(
            f"{path.name} has a cell that cannot be read ({error}). Write it anew."
        ) from error
    rows = [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]
    return list(enumerate(rows, 1)), names


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_text,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
_ENDINGS = (*_READERS, _JSON)
FILE_ENDINGS = (*_ENDINGS, *(f"{ending}.gz" for ending in _ENDINGS))
