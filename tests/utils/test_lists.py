"""Several names in one option."""

import pytest

from redteam_env import RedteamError
from redteam_env.utils.lists import assigned, listed


def test_a_list_names_each_thing_once():
    assert listed("a, b,,a ") == ("a", "b")
    assert listed(None) == listed(" , ") == ()


def test_values_are_read_by_name_each_once():
    assert assigned("a=1, b=x,", option="settings", example="lr=1") == {"a": 1, "b": "x"}
    for text in ("a=1,a=2", "a=1, a=1"):
        with pytest.raises(RedteamError, match="settings has 'a' twice"):
            assigned(text, option="settings", example="lr=1")
