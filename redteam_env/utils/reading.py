"""Files and texts that others wrote, read within bounds.

One function a format: :func:`read_lines`, :func:`read_json_lines`, :func:`parse_json`, :func:`parse_toml`, :func:`read_toml`,
:func:`read_csv` and :func:`read_parquet`. Names that end in ``.gz`` are unpacked on the way. What is
wrong becomes a :class:`~redteam_env.game.RedteamError` of one line with the place, what was found and
the bound, so that a damaged or hostile file ends neither in a traceback nor in a full memory.
"""

import csv
import errno
import gzip
import io
import json
import math
import re
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError

MOST_BYTES = 2**30
"""Of a file, after unpacking."""
MOST_BYTES_OF_TOML = 2**20
"""Of a configuration; reading TOML takes long."""
MOST_BYTES_A_LINE = 2**26
MOST_ROWS = 10_000_000
MOST_NESTED = 100
"""Lists and objects within each other."""
MOST_DIGITS = 300
"""Of a whole number, so that each of them is a finite float too."""
_KINDS = {
    b"\xff\xfe": ": it is UTF-16",
    b"\xfe\xff": ": it is UTF-16",
    b"\x1f\x8b": ": it is packed by gzip, and such a name ends in .gz",
    b"PK": ": it is a zip archive or a spreadsheet",
}
"""What files are that begin so."""
_DELIMITERS = (",", ";", "\t")
_LINES_COMPARED = 50
_MOST_SHOWN = 80
_ROWS_AT_ONCE = 4096
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|([\[{])|[\]}]', re.DOTALL)
"""A string, an opening bracket (group 1) or a closing one; linear in the text's length."""


def _opened(file: Path) -> io.BufferedIOBase:
    if file.is_fifo() and file.parts[:2] != ("/", "dev"):  # where a shell puts <(command)
        raise OSError(errno.EINVAL, "it is a pipe", str(file))
    return gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")


def read_bytes(file: Path, *, most: int = MOST_BYTES) -> bytes:
    """Return all bytes of a file.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.
        most: How many it may have.

    Raises:
        OSError: If it cannot be read.
        RedteamError: If it is larger, or cannot be unpacked.
    """
    try:
        with _opened(file) as stream:
            content = stream.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _not_unpacked(file, error) from error
    if len(content) > most:
        raise _too_large(file, most)
    return content


def read_text(file: Path, *, most: int = MOST_BYTES) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.
        most: How many bytes it may have.

    Raises:
        OSError: If it cannot be read.
        RedteamError: If it is larger, cannot be unpacked, is not UTF-8, or has a NUL character.
    """
    return _decoded(file, read_bytes(file, most=most))


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file in UTF-8 with their numbers from 1, each with its line break.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.

    Raises:
        OSError: If it cannot be read.
        RedteamError: If it has too many lines or bytes, a line is too long, not UTF-8 or with a NUL
            character, or it cannot be unpacked.
    """
    for number, line in _raw_lines(file):
        yield number, _decoded(file, line, number)


def read_json_lines(file: Path, *, remedy: str) -> tuple[list[tuple[str, Any]], str | None]:
    """Return the values of a file of JSON lines; a last line that was not written whole is left out.

    A process that is killed while it writes, a full disk or a power failure leaves a last line that is no
    JSON, and a process that writes just now one without its end. Any other line that is no JSON is an error.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.
        remedy: What to do if it cannot be read: a sentence.

    Returns:
        Each value with the place where it stands, for messages; and the place of the line that was left
        out, ``None`` if none was.

    Raises:
        OSError: If the file cannot be read.
        RedteamError: As :func:`read_lines` and :func:`parse_json`.
    """
    found: list[tuple[str, Any]] = []
    damage: RedteamError | None = None
    place = ""
    for number, line in _raw_lines(file):
        if damage is not None:
            raise damage
        place = f"Line {number} of {str(file)!r}"
        try:
            found.append((place, parse_json(line, place=place, remedy=remedy)))
        except RedteamError as error:
            damage = error
        if not line.endswith(b"\n"):
            break  # what comes now is being written
    return found, None if damage is None else place


def _raw_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    total = 0
    try:
        with _opened(file) as stream:
            for number in range(1, MOST_ROWS + 2):
                line = stream.readline(MOST_BYTES_A_LINE + 1)
                if not line:
                    return
                total += len(line)
                if len(line) > MOST_BYTES_A_LINE:
                    raise RedteamError(
                        f"{file.name}, line {number} has more than {MOST_BYTES_A_LINE} bytes, the most "
                        "of a line; is it a text file?"
                    )
                if total > MOST_BYTES:
                    raise _too_large(file, MOST_BYTES)
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _not_unpacked(file, error) from error
    raise _too_many_rows(file.name)


def parse_json(text: str | bytes, *, place: str, remedy: str = "") -> Any:
    """Return the value of a JSON text.

    Args:
        text: The text.
        place: Where it stands, for messages, such as ``seeds.jsonl, line 3``.
        remedy: What to do if it is wrong: a sentence.

    Raises:
        RedteamError: If it is no JSON, is nested too deep, names a key of an object twice, or has a whole
            number of too many digits.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        depth = _depth(decoded)
        if depth > MOST_NESTED:
            raise _unread(place, f"nested {depth} deep, at most {MOST_NESTED} is read", remedy)
        return _DECODER.decode(decoded)
    except _DigitsError as error:
        raise _too_many_digits(place, error.digits, remedy) from error
    except (ValueError, RecursionError) as error:
        raise _unread(place, f"no JSON: {error}", remedy) from error


def first_json(text: str, *, place: str) -> tuple[Any, str]:
    """Return the value that a text begins with, and what stands behind it.

    Raises:
        RedteamError: As :func:`parse_json`.
    """
    text = text.lstrip()
    try:
        _, end = json.JSONDecoder(parse_int=str).raw_decode(text)
    except (ValueError, RecursionError):
        end = len(text)  # says what is wrong with it, within the bounds
    return parse_json(text[:end], place=place), text[end:].strip()


class _DigitsError(Exception):
    """A whole number has too many digits."""

    def __init__(self, digits: int) -> None:
        super().__init__(digits)
        self.digits = digits


def _integer(text: str) -> int:
    digits = len(text.lstrip("-"))
    if digits > MOST_DIGITS:
        raise _DigitsError(digits)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:_MOST_SHOWN]!r} stands twice in one object")
    return found


_DECODER = json.JSONDecoder(parse_int=_integer, object_pairs_hook=_object)


def _depth(text: str) -> int:
    """Return how deep the brackets of a JSON text are nested, or a smaller bound that is not over."""
    opened = text.count("[") + text.count("{")
    if opened <= MOST_NESTED:
        return opened
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        if match[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def parse_toml(text: str, *, place: str, remedy: str = "") -> dict[str, Any]:
    """Return the table of a TOML text.

    Args:
        text: The text.
        place: Where it stands, for messages.
        remedy: What to do if it is wrong: a sentence.

    Raises:
        RedteamError: If it is no TOML, too long, nested too deep, or has a whole number of too many
            digits.
    """
    if len(text) > MOST_BYTES_OF_TOML:
        found = f"{len(text)} characters, at most {MOST_BYTES_OF_TOML} are read"
        raise _unread(place, found, remedy)
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise _unread(place, f"nested too deep, at most {MOST_NESTED} is read", remedy) from error
    except ValueError as error:
        raise _unread(place, f"no TOML: {error}", remedy) from error
    values: list[tuple[Any, int]] = [(table, 1)]
    while values:
        value, depth = values.pop()
        if isinstance(value, dict | list):
            if depth > MOST_NESTED:
                raise _unread(place, f"nested too deep, at most {MOST_NESTED} is read", remedy)
            inner = value.values() if isinstance(value, dict) else value
            values += [(x, depth + 1) for x in inner]
        elif isinstance(value, int) and value.bit_length() > MOST_DIGITS * math.log2(10):
            raise _too_many_digits(place, int(value.bit_length() / math.log2(10)) + 1, remedy)
    return table


def read_toml(file: Path, *, remedy: str = "") -> dict[str, Any]:
    """Return the table of a TOML file.

    Args:
        file: The file.
        remedy: What to do if it cannot be read: a sentence.

    Raises:
        RedteamError: If it cannot be read, or as :func:`parse_toml`.
    """
    try:
        text = read_text(file, most=MOST_BYTES_OF_TOML)
    except OSError as error:
        raise _unread(repr(str(file)), str(error.strerror), remedy) from error
    return parse_toml(text, place=repr(str(file)), remedy=remedy)


def read_csv(file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read a table with a header line whose cells commas, semicolons or tabs separate.

    A name with ``.tsv`` says that it is tabs if the header has one. Otherwise it is the one for which
    the first rows have as many cells as the header; of several, the one that makes the most cells. A
    first line ``sep=;``, as spreadsheets write it, says so too.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.

    Returns:
        The names of the columns (none for an empty file), and the rows: for each the number of the line
        it ends in, and its cells. Lines without a cell are passed over.

    Raises:
        OSError: If it cannot be read.
        RedteamError: As :func:`read_lines`; from the rows also if the quotes are out of order, or a row
            has another number of cells than the header.
    """
    lines = (
        part for _, line in read_lines(file) for part in re.split(r"(?<=\r)(?!\n)", line) if part
    )
    first = [line for _, line in zip(range(_LINES_COMPARED), lines, strict=False)]
    skipped = 0
    if first and (match := re.fullmatch(r'"?sep=([,;\t])"?\s*', first[0])):
        delimiter, skipped = match[1], 1
    else:
        tabs = ".tsv" in file.name.lower() and first and "\t" in first[0]
        delimiter = "\t" if tabs else _delimiter(first)
    rows = _csv_rows(file, _chained(first[skipped:], lines), delimiter, skipped)
    _, header = next(rows, (0, []))
    columns = [name.strip() for name in header]
    return columns, _as_wide(file, rows, len(columns))


def _chained(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _csv_rows(
    file: Path, lines: Iterator[str], delimiter: str, skipped: int = 0
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    while True:
        before = csv.field_size_limit(MOST_BYTES_A_LINE)  # of the whole process
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RedteamError(
                f"{file.name} is no CSV near row {max(number, 1)} (line {reader.line_num + skipped}): "
                f"{error}. Check the quotes there."
            ) from error
        finally:
            csv.field_size_limit(before)
        if cells:
            number += 1
            yield reader.line_num + skipped, cells


def _as_wide(
    file: Path, rows: Iterator[tuple[int, list[str]]], width: int
) -> Iterator[tuple[int, list[str]]]:
    for number, (line, cells) in enumerate(rows, 1):
        if len(cells) != width:
            raise RedteamError(
                f"{file.name}, row {number} (line {line}) has {len(cells)} cells, the header {width}; "
                "quote cells that hold the separator."
            )
        yield line, cells


def _delimiter(lines: list[str]) -> str:
    """Return what separates the cells, judging by the header and the rows behind it."""
    widths = {x: _widths(lines, x) for x in _DELIMITERS}
    several = [x for x in _DELIMITERS if widths[x] and widths[x][0] > 1]
    even = [x for x in several if len(set(widths[x])) == 1]
    return max(even or several or _DELIMITERS[:1], key=lambda x: widths[x][:1])


def _widths(lines: list[str], delimiter: str) -> list[int]:
    """Return how many cells the first rows have; the last row may go on behind the lines."""
    found: list[int] = []
    before = csv.field_size_limit(MOST_BYTES_A_LINE)
    try:
        found += (
            len(cells) for cells in csv.reader(lines, delimiter=delimiter, strict=True) if cells
        )
    except csv.Error:
        pass
    finally:
        csv.field_size_limit(before)
    return found


def read_parquet(file: Path, *, remedy: str) -> Any:
    """Return the Arrow table of a parquet file.

    Args:
        file: The file; one that ends in ``.gz`` is unpacked.
        remedy: What to do if it cannot be read: a sentence.

    Raises:
        RedteamError: If pyarrow is missing, or the file cannot be read or is too large.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise RedteamError(
            f"Reading {file.name} needs pyarrow: pip install 'redteam-env[eval]', or convert the file "
            "to CSV."
        ) from error
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _too_large(file, MOST_BYTES)
        source = io.BytesIO(read_bytes(file)) if file.suffix.lower() == ".gz" else file
        with parquet.ParquetFile(source) as opened:
            if opened.metadata.num_rows > MOST_ROWS:
                raise _too_many_rows(file.name)
            batches, size = [], 0
            for batch in opened.iter_batches(batch_size=_rows_at_once(opened.metadata)):
                size += sum(_size(column) for column in batch.columns)
                if size > MOST_BYTES:
                    raise _too_large(file, MOST_BYTES)
                batches.append(batch)
            return pa.Table.from_batches(batches, schema=opened.schema_arrow)
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise RedteamError(
            f"{file.name} is no parquet file that can be read: {reason}. {remedy}"
        ) from error


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows of a parquet file fit into memory, should each repeat all that its column stores."""
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    sizes = [x.column(k).total_uncompressed_size for x in groups for k in range(x.num_columns)]
    largest: int = max(sizes, default=0) or 1
    return min(_ROWS_AT_ONCE, max(1, MOST_BYTES // largest))


def _size(array: Any) -> int:
    """Return how many bytes an Arrow array has once what is stored once and named often is repeated."""
    from pyarrow import types  # noqa: PLC0415 - an extra, and slow to import

    if types.is_dictionary(array.type):
        return int(array.dictionary_decode().nbytes)
    if types.is_struct(array.type):
        return sum(_size(part) for part in array.flatten())
    if types.is_list(array.type) or types.is_large_list(array.type):
        return _size(array.flatten())
    return int(array.nbytes)


def _unread(place: str, reason: str, remedy: str) -> RedteamError:
    return RedteamError(f"{place} cannot be read ({reason}).{f' {remedy}' if remedy else ''}")


def _too_large(file: Path, most: int) -> RedteamError:
    return RedteamError(
        f"{file.name} has more than {most} bytes when unpacked, the most that is read; split it."
    )


def _too_many_rows(name: str) -> RedteamError:
    return RedteamError(f"{name} has more than {MOST_ROWS} rows, the most that are read; split it.")


def _too_many_digits(place: str, digits: int, remedy: str) -> RedteamError:
    found = f"a whole number of {digits} digits, at most {MOST_DIGITS} are read"
    return _unread(place, found, remedy)


def _decoded(file: Path, content: bytes, line: int = 1) -> str:
    """Return the text of bytes that begin with a line of a file."""
    try:
        text = content.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x}"
        raise _not_utf8(file, content, error.start, line, found) from error
    if "\0" in text:
        raise _not_utf8(file, content, content.index(0), line, "a NUL byte")
    return text


def _not_utf8(file: Path, content: bytes, place: int, line: int, found: str) -> RedteamError:
    number = line + content.count(b"\n", 0, place)
    known = (kind for mark, kind in _KINDS.items() if line == 1 and content.startswith(mark))
    return RedteamError(
        f"{file.name} is not UTF-8 ({found} in line {number}{next(known, '')}); save it as UTF-8."
    )


def _not_unpacked(file: Path, error: Exception) -> RedteamError:
    return RedteamError(f"{file.name} cannot be unpacked ({error}); is it whole, and gzip?")
