"""Seeds from a user's own file: CSV, JSON lines or parquet, with a column mapping."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import DataCard
from redteam_env.seeds.columns import OPTIONS, Columns, Row, check_options
from redteam_env.seeds.source import ListSource
from redteam_env.utils.files import JSON_ERRORS, sha256_of

Table = tuple[list[Row], list[str]]
"""Numbered rows, and the names of all columns."""


def from_file(argument: str | None = None, **options: str) -> ListSource:
    """Return the seeds of a file.

    The ending tells the format: ``.csv`` (with a header line, UTF-8), ``.jsonl`` or ``.json`` (one
    object a line), ``.parquet``. Rows count from 1 without the header; in JSON lines, a row is a
    line of the file.

    Args:
        argument: Path of the file.
        **options: See :data:`redteam_env.seeds.columns.OPTIONS`.

    Raises:
        RedteamError: If the file is missing, empty or not what its ending says, a column is
            missing, or a cell cannot be read.
    """
    check_options("file", options, OPTIONS)
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
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown_name(f"ending of the seed file {argument!r}:", path.suffix, READERS)
    mapping = Columns.from_options(options)
    rows, columns = reader(path)
    if not rows:
        raise RedteamError(f"The seed file {argument!r} is empty; it needs at least one row.")
    seeds = mapping.read(rows, columns, path.name)
    card = DataCard(
        name=path.name,
        licence="not stated (a user's file)",
        revision="",
        sha256=sha256_of(path),
        origin=argument,
    )
    return ListSource(seeds, card, max_chars=mapping.max_chars)


def _read_csv(path: Path) -> Table:
    rows: list[Row] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            repeated = sorted({name for name in columns if columns.count(name) > 1})
            if repeated:
                raise RedteamError(f"{path.name} has two columns {repeated[0]!r}; rename one.")
            for number, cells in enumerate(reader, 1):
                if None in cells or None in cells.values():
                    raise RedteamError(
                        f"{path.name}, row {number} (line {reader.line_num}) does not have "
                        f"{len(columns)} cells like the header; quote cells that hold commas."
                    )
                rows.append((number, cells))
    except csv.Error as error:
        raise RedteamError(
            f"{path.name} is no CSV near row {len(rows) + 1}: {error}. Check the quotes there."
        ) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    return rows, columns


def _read_json_lines(path: Path) -> Table:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except JSON_ERRORS as error:
            raise RedteamError(
                f"{path.name}, row {number} is no JSON: {error}. Each line must be one object."
            ) from error
        if not isinstance(cells, dict):
            raise RedteamError(
                f"{path.name}, row {number} is {type(cells).__name__}, not an object; write one "
                'object a line, such as {"text": "...", "harmful": true}.'
            )
        columns |= dict.fromkeys(cells)
        rows.append((number, cells))
    return rows, list(columns)


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise RedteamError(
            f"Reading {path.name} needs pyarrow: pip install 'redteam-env[eval]', or convert the "
            "file to CSV."
        ) from error
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RedteamError(
            f"{path.name} is no parquet file that can be read: {error}. Write it anew."
        ) from error
    cells: list[dict[str, Any]] = table.to_pylist()
    return list(enumerate(cells, 1)), list(table.column_names)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> RedteamError:
    byte = error.object[error.start]
    return RedteamError(
        f"{path.name} is not UTF-8 (byte 0x{byte:02x} at position {error.start}); save it as UTF-8."
    )


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".json": _read_json_lines,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
