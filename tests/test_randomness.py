import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.randomness import generator, integer_seed

parts = st.integers() | st.text(max_size=5)
paths = st.lists(parts, min_size=1, max_size=5).map(tuple)


def numbers(path):
    return generator(path).integers(0, 2**63, size=4).tolist()


@given(paths)
def test_equal_paths_give_equal_streams(path):
    assert numbers(path) == numbers(list(path))
    assert integer_seed(path) == integer_seed(path)


@given(paths, paths)
def test_different_paths_give_different_streams(one, other):
    assert (numbers(one) == numbers(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), ("1",)),
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
        (("a",), ("a", 0)),
        ((1, 23), (12, 3)),
        ((-1,), (1,)),
        (("a", "b"), ("b", "a")),
    ],
)
def test_similar_paths_are_not_confused(one, other):
    assert numbers(one) != numbers(other)


def test_the_streams_are_the_same_on_every_machine():
    assert generator((7, "step", 3)).integers(0, 1000, size=5).tolist() == [44, 684, 871, 930, 625]


def test_the_streams_do_not_depend_on_the_hash_seed():
    code = "from redteam_env.randomness import integer_seed; print(integer_seed((1, 'a')))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert int(told) == integer_seed((1, "a"))


@given(paths)
def test_seeds_fit_into_63_bits(path):
    assert 0 <= integer_seed(path) < 2**63


@pytest.mark.parametrize("path", [(True,), (1.0,), (None,), (np.int64(1),), (b"a",), (("a",),)])
def test_only_integers_and_strings_make_a_path(path):
    with pytest.raises(TypeError, match=re.escape(repr(path[0]))):
        generator(path)


def test_an_empty_path_is_refused():
    with pytest.raises(ValueError, match="at least one part"):
        generator(())
