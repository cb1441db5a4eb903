import copy
import pickle

import numpy as np
import pytest
from gymnasium.spaces import Dict, Text
from hypothesis import given
from hypothesis import strategies as st

from redteam_env import UnicodeText


@given(st.text(max_size=8))
def test_every_short_enough_text_is_inside(text):
    assert UnicodeText(8).contains(text)
    assert text in UnicodeText(8)


@pytest.mark.parametrize("thing", ["123456789", b"a", None, 3, ["a"], np.array("a")])
def test_anything_else_is_outside(thing):
    assert not UnicodeText(8).contains(thing)


def test_lone_surrogates_are_inside_because_no_action_is_illegal():
    assert UnicodeText(3).contains("\ud800")


@pytest.mark.parametrize("longest", [0, 1, 40, 10**7])
def test_samples_are_inside_printable_and_short(longest):
    space = UnicodeText(longest, seed=1)
    samples = [space.sample() for _ in range(50)]
    assert all(space.contains(text) and len(text) <= 256 for text in samples)
    assert all(text.isascii() and (text.isprintable() or not text) for text in samples)
    assert len(set(samples)) > 1 or longest == 0


def test_equal_seeds_sample_equal_texts():
    first, second, other = UnicodeText(50, seed=3), UnicodeText(50), UnicodeText(50, seed=4)
    second.seed(3)
    drawn = [[space.sample() for _ in range(5)] for space in (first, second, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_masks_choose_length_and_characters():
    space = UnicodeText(50, seed=0)
    only_a = np.array([char == "a" for char in space.character_list], dtype=np.int8)
    assert space.sample(mask=(4, only_a)) == "aaaa"
    assert len(space.sample(mask=(7, None))) == 7
    assert set(space.sample(probability=(9, only_a.astype(np.float64)))) == {"a"}


def test_equality_hash_and_name_are_those_of_the_length():
    assert UnicodeText(5) == UnicodeText(5) != UnicodeText(6)
    assert UnicodeText(5) != Text(5)
    assert len({UnicodeText(5), UnicodeText(5), UnicodeText(6)}) == 2
    assert repr(UnicodeText(5)) == "UnicodeText(5)"
    assert isinstance(UnicodeText(5), Text)
    assert not UnicodeText(5).is_np_flattenable


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_sampling_alike(duplicate):
    space = UnicodeText(50, seed=0)
    space.sample()
    other = duplicate(space)
    assert other == space
    assert [other.sample() for _ in range(3)] == [space.sample() for _ in range(3)]


def test_it_works_inside_a_dict_space():
    space = Dict({"text": UnicodeText(5)})
    assert space.contains({"text": "\U0001f600"})
    assert not space.contains({"text": "123456"})
    assert space.contains(space.sample())
