"""Several names in one option."""

from redteam_env.utils.lists import listed


def test_a_list_names_each_thing_once():
    assert listed("a, b,,a ") == ("a", "b")
    assert listed(None) == listed(" , ") == ()
