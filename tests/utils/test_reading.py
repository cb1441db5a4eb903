import gzip
import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import RedteamError
from redteam_env.utils import reading
from redteam_env.utils.reading import (
    parse_json,
    parse_toml,
    read_bytes,
    read_csv,
    read_lines,
    read_parquet,
    read_text,
    read_toml,
)


def error_of(call, *args, **kwargs):
    with pytest.raises(RedteamError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested 10000 deep, at most 100"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested 10000 deep, at most 100"),
        ("[" * 101, "nested 101 deep, at most 100"),
        ("-" + "1" * 5_000, "5000 digits, at most 300"),
        ("{", "no JSON"),
        ("", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ('"' + '\\"' * 50_000 + "[" * 200, "no JSON"),
    ],
)
def test_json_out_of_bounds_is_one_line_with_place_and_remedy(text, part):
    message = error_of(parse_json, text, place="seeds.json, line 3", remedy="Mend it.")
    assert message.startswith("seeds.json, line 3 cannot be read (")
    assert part in message
    assert message.endswith(" Mend it.")


def test_json_within_bounds_is_read():
    assert parse_json("[" * 100 + "]" * 100, place="x")
    assert parse_json(json.dumps(["[{" * 500, '"]' * 300] * 60), place="x")[0] == "[{" * 500
    assert math.isfinite(float(parse_json("9" * 300, place="x")))
    assert parse_json("\ufeff1".encode(), place="x") == 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a = " + "[" * 10_000, "nested too deep, at most 100"),
        ("a = " + "[" * 150 + "]" * 150, "nested too deep, at most 100"),
        (".".join("a" * 150) + " = 1", "nested too deep, at most 100"),
        ("a = " + "1" * 5_000, "digits"),
        ("a = 0x" + "f" * 5_000, "digits, at most 300"),
        ("#" + "x" * 2**20, "at most 1048576"),
        ("a = ", "no TOML"),
    ],
)
def test_toml_out_of_bounds_is_one_line(tmp_path, text, part):
    assert part in error_of(parse_toml, text, place="plan.toml")
    file = tmp_path / "plan.toml"
    file.write_text(text)
    assert "plan.toml" in error_of(read_toml, file)


def test_a_missing_or_binary_toml_is_named(tmp_path):
    assert "No such file" in error_of(read_toml, tmp_path / "plan.toml", remedy="Name another.")
    (tmp_path / "plan.toml").write_bytes(b"a = '\xe9'")
    assert "plan.toml is not UTF-8 (byte 0xe9 in line 1)" in error_of(
        read_toml, tmp_path / "plan.toml"
    )


def test_too_many_bytes_and_rows_and_too_long_lines_are_named(tmp_path, monkeypatch):
    file, packed = tmp_path / "mine.csv", tmp_path / "mine.csv.gz"
    file.write_text("text\n" * 100)
    packed.write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setattr(reading, "MOST_ROWS", 99)
    assert "more than 99 rows" in error_of(list, read_lines(file))
    monkeypatch.setattr(reading, "MOST_ROWS", 100)
    assert len(list(read_lines(packed))) == 100
    monkeypatch.setattr(reading, "MOST_BYTES", 499)
    assert "more than 499 bytes" in error_of(list, read_lines(packed))
    assert "more than 499 bytes" in error_of(read_bytes, packed, most=499)
    monkeypatch.setattr(reading, "MOST_BYTES_A_LINE", 4)
    assert "line 1 has more than 4 bytes" in error_of(list, read_lines(file))


def test_parquet_with_too_many_rows_or_bytes_is_named(tmp_path, monkeypatch):
    import pyarrow as pa
    from pyarrow import parquet

    file = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"text": ["x" * 100] * 1_000}), file)
    assert read_parquet(file, remedy="").num_rows == 1_000
    monkeypatch.setattr(reading, "MOST_BYTES", 50_000)
    assert file.stat().st_size < 50_000
    assert "more than 50000 bytes" in error_of(read_parquet, file, remedy="")
    monkeypatch.setattr(reading, "MOST_ROWS", 999)
    assert "more than 999 rows" in error_of(read_parquet, file, remedy="")


@pytest.mark.parametrize("form", ["plain", "dictionary", "struct", "list"])
def test_a_parquet_that_repeats_what_it_stores_once_counts_as_what_it_holds(
    tmp_path, monkeypatch, form
):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = pa.array(["x" * 1000] * 1000).dictionary_encode()
    column = {
        "plain": texts.dictionary_decode(),
        "dictionary": texts,
        "struct": pa.StructArray.from_arrays([texts], names=["inner"]),
        "list": pa.ListArray.from_arrays(list(range(1001)), texts),
    }[form]
    file = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"text": column}), file)
    assert file.stat().st_size < 50_000
    assert read_parquet(file, remedy="").num_rows == 1000
    monkeypatch.setattr(reading, "MOST_BYTES", 50_000)
    assert "more than 50000 bytes" in error_of(read_parquet, file, remedy="")


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 1}', '[{"x": {"a": 1, "a": 2}}]'])
def test_a_key_that_stands_twice_is_named(text):
    assert "'a' stands twice in one object" in error_of(parse_json, text, place="there")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("text\na\n".encode("utf-16"), "byte 0xff in line 1: it is UTF-16"),
        ("text\na\n".encode("utf-16-le"), "a NUL byte in line 1"),
        (b"text\na\0b\n", "a NUL byte in line 2"),
        (gzip.compress(b"text\na\n", mtime=0), "packed by gzip"),
        (b"PK\x03\x04\xff", "a zip archive or a spreadsheet"),
    ],
)
@pytest.mark.parametrize("read", [read_text, lambda file: list(read_lines(file))])
def test_what_is_no_text_in_utf_8_is_told(tmp_path, content, part, read):
    file = tmp_path / "mine.csv"
    file.write_bytes(content)
    assert part in error_of(read, file)


def answer(call, *args, **kwargs):
    """Return what a call gives, or the text of its error."""
    try:
        return call(*args, **kwargs)
    except RedteamError as error:
        return str(error)


@given(st.text() | st.binary() | st.text(alphabet='[]{}",:\\1-e. ', max_size=300))
def test_any_text_is_json_or_a_named_error(text):
    answer(parse_json, text, place="it")


@given(st.text(max_size=200) | st.text(alphabet="[]{}\"'=,.#\n1a ", max_size=200))
def test_any_text_is_toml_or_a_named_error(text):
    found = answer(parse_toml, text, place="it")
    assert isinstance(found, dict) or found.startswith("it cannot be read (")


def table(file):
    columns, rows = read_csv(file)
    return columns, list(rows)


@given(st.binary() | st.text(alphabet='ab,;\t"\r\n', max_size=100).map(str.encode))
def test_any_bytes_are_an_even_table_or_a_named_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("table") / "mine.csv"
    file.write_bytes(content)
    found = answer(table, file)
    if isinstance(found, str):
        assert "mine.csv" in found
    else:
        assert all(len(cells) == len(found[0]) for _, cells in found[1])


def test_a_pipe_among_files_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "episodes.jsonl")
    with pytest.raises(OSError, match="it is a pipe"):
        read_bytes(tmp_path / "episodes.jsonl")
