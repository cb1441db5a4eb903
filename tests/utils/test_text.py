import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from redteam_env.utils.text import escape_controls, safe_text


@given(
    st.text(st.characters(), max_size=40) | st.text(st.characters(categories=["Cc", "Cf", "Cs"]))
)
def test_nothing_that_drives_a_terminal_is_left(text):
    shown = escape_controls(text)
    assert all(char.isprintable() or char in "\n\t" or char.isspace() for char in shown)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_ordinary_text_stays_as_it_is(text):
    assert escape_controls(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("over\rwritten", "over\\rwritten"),
        ("a\u202eb", "a\\u202eb"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("line\u2028end", "line\\u2028end"),
        ("\ud800", "\\ud800"),
        ("kept\n\ttoo", "kept\n\ttoo"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_controls_are_spelled_out(text, shown):
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "text", ["[bold]x[/bold]", "[link=http://127.0.0.1]x[/link]", "[/]", ":smile:"]
)
def test_rich_reads_no_markup_in_hostile_text(text):
    out = io.StringIO()
    Console(file=out, width=80).print(safe_text(text))
    assert out.getvalue() == f"{text}\n"
