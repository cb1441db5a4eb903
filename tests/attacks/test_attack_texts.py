"""What the attacker's model is told."""

import re
from importlib import resources

import pytest

from redteam_env.attacks.texts import text_of

SLOTS = {
    "crescendo": set(),
    "feedback": {"answer", "score"},
    "goal_benign": {"goal"},
    "goal_harmful": {"goal"},
    "goat": {"toolbox"},
    "on_topic": set(),
    "on_topic_question": {"goal", "message"},
    "pair": set(),
    "taken_back": set(),
    "toolbox": set(),
}
FOLDER = resources.files("redteam_env.attacks") / "prompts"


def test_every_text_has_its_slots_and_no_others():
    found = {
        x.name.removesuffix(".txt"): set(re.findall(r"\{(\w+)\}", x.read_text(encoding="utf-8")))
        for x in FOLDER.iterdir()
    }
    assert found == SLOTS


@pytest.mark.parametrize("name", ["pair", "crescendo", "goat", "feedback", "taken_back"])
def test_who_writes_a_message_is_told_where_it_belongs(name):
    text = text_of(name, **dict.fromkeys(SLOTS[name], "x"))
    assert "<message>" in text
    assert "</message>" in text


def test_what_fills_a_slot_is_not_read_as_a_text_with_slots():
    found = text_of("on_topic_question", goal="{message}", message="\\1 {goal}")
    assert found == "First: {message}\nSecond: \\1 {goal}"
