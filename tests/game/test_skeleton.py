"""What cannot be seen, or looks like ASCII, is found whatever it is written with."""

import pytest

from redteam_env.game.skeleton import seen, skeleton, spans


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200b", "\u2065", "\ufff3", "\U000e0041", "\u3164"])
def test_what_shows_nothing_is_nothing(unseen):
    text = f"[IN{unseen}ST]"
    assert skeleton(text) == "[INST]"
    assert len(spans(text)) == len("[INST]")


@pytest.mark.parametrize(
    "text", ["\uff21nswer:", "\u0410nswer:", "\u13aansw\u0435r\uff1a", "Answer\u2236"]
)
def test_look_alikes_are_what_they_look_like(text):
    assert skeleton(text) == "Answer:"


def test_printable_ascii_is_its_own_skeleton():
    assert skeleton("Answer: yes\n\t|end|") == "Answer: yes\n\t|end|"


@pytest.mark.parametrize(
    "spelled",
    ["&lt;", "&#60;", "&#x3C;", "\\u003c", "\\x3C", "\\u{3c}", "\\U0000003c", "%3C", "&LT"],
)
def test_a_character_that_is_spelled_out_is_seen_where_it_stands(spelled):
    text = f"a{spelled}|b"
    assert seen(text) == "a<|b"
    assert [text[start:end] for start, end in spans(text)] == ["a", spelled, "|", "b"]


@pytest.mark.parametrize("text", ["R&D", "100% sure", "C:\\temp", "a &amp b", "\\u12", "&unknown;"])
def test_what_spells_nothing_is_seen_as_it_is(text):
    assert seen(text).replace("& b", "&amp b") == text
