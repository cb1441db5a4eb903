"""String constants of source that is never run."""

import pytest

from redteam_env.game import RedteamError
from redteam_env.utils.constants import constants_in


def test_strings_names_and_sums_are_read_and_nothing_is_run():
    source = "raise SystemExit\nA = B = 'a'\nC = A + 'b' + (B + 'c')\nD = f'{A}'\nE = 'x' * 9\nF = G\nA = 'new'"
    assert constants_in(source, "it") == {"A": "new", "B": "a", "C": "abac"}


def test_strings_of_classes_are_named_by_class():
    source = (
        "A = 'a'\nclass K:\n    B = A + 'b'\n    class L:\n        C = 'c'\n    D = B + A\nE = 'e'"
    )
    found = constants_in(source, "it")
    assert found == {"A": "a", "K.B": "ab", "K.L.C": "c", "K.D": "aba", "E": "e"}


@pytest.mark.parametrize("source", ["x = (", "\0", "x = " + "(" * 5000 + ")" * 5000])
def test_what_is_no_python_is_refused(source):
    with pytest.raises(RedteamError, match="The file is no Python"):
        constants_in(source, "The file")


def test_a_long_sum_is_read():
    assert constants_in("A = " + " + ".join(["'x'"] * 500), "it")["A"] == "x" * 500


def test_a_string_that_doubles_itself_ends():
    found = constants_in("A = 'x'\n" + "A = A + A\n" * 60, "it")
    assert len(found.get("A", "")) <= 2**20
