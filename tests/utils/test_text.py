import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from redteam_env.utils.text import break_chat_tokens, chat_tokens, escape_controls, safe_text


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


@pytest.mark.parametrize(
    "token",
    [
        *(
            "<|im_start|>",
            "<\uff5cUser\uff5c>",
            "<|turn>",
            "<turn|>",
            "<channel|>",
            "<start_of_turn>",
        ),
        *("<s>", "</s>", "<seed:bos>", "<BOS_TOKEN>", "<eoa>", "<SPECIAL_12>", "<role>", "</role>"),
        *(
            "<end_of_utterance>",
            "<think>",
            "</think>",
            "<seed:think>",
            "<tool_response>",
            "<<SYS>>",
        ),
        *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[|user|]", "[|endofturn|]", "[gMASK]"),
        *("]~b]", "]~!b[", "[e~["),
    ],
)
def test_control_tokens_of_the_known_families_are_broken(token):
    broken = break_chat_tokens(f"a{token}b")
    assert token not in broken
    assert broken.replace(" ", "") == f"a{token}b"
    assert break_chat_tokens(broken) == broken
    assert chat_tokens(f"a{token}b")


@pytest.mark.parametrize(
    "text", ["a < b", "<b>bold</b>", "a[0]", "[x](y)", "| [a] | b |", "<thinking>"]
)
def test_other_brackets_are_left_alone(text):
    assert break_chat_tokens(text) == text
