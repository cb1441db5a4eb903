"""An unknown name is answered with the nearest one, all that are allowed, and a hint."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import RedteamError, unknown_name


def test_an_unknown_name_is_answered_with_the_nearest_and_all_allowed_ones():
    error = unknown_name("judge", "allways", ["never", "always"])
    assert str(error) == ("Unknown judge 'allways'. Did you mean 'always'? Allowed: always, never.")
    hinted = unknown_name("judge", 3, ["never"], hint="Register it first.")
    assert str(hinted) == "Unknown judge 3. Allowed: never. Register it first."


def test_where_nothing_is_allowed_that_is_said():
    assert str(unknown_name("judge", "x", [])) == ("Unknown judge 'x'. Allowed: none is installed.")


@given(st.text())
def test_what_a_stranger_wrote_drives_no_terminal_through_an_error(text):
    error = RedteamError(f"This is no name: {text}.")
    assert all(char.isprintable() or char == "\n" for char in str(error))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_error_says_what_is_not_shown():
    assert str(RedteamError("a\x1b[2Jb\u202ec\ud800d")) == r"a\x1b[2Jb\u202ec\ud800d"
