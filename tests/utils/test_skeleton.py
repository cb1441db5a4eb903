"""What cannot be seen, or looks like ASCII, is found whatever it is written with."""

import pytest

from redteam_env.utils.skeleton import origins, skeleton


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200b", "\u2065", "\ufff3", "\U000e0041", "\u3164"])
def test_what_shows_nothing_is_nothing(unseen):
    text = f"[IN{unseen}ST]"
    assert skeleton(text) == "[INST]"
    assert len(origins(text)) == len("[INST]")


@pytest.mark.parametrize(
    "text", ["\uff21nswer:", "\u0410nswer:", "\u13aansw\u0435r\uff1a", "Answer\u2236"]
)
def test_look_alikes_are_what_they_look_like(text):
    assert skeleton(text) == "Answer:"


def test_printable_ascii_is_its_own_skeleton():
    assert skeleton("Answer: yes\n\t|end|") == "Answer: yes\n\t|end|"
