import copy
import pickle

import numpy as np
import pytest
from gymnasium.spaces import Dict, Text, flatdim, flatten, flatten_space, unflatten
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector import utils as vector
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


any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=12)


@given(any_text)
def test_a_text_of_any_characters_becomes_an_array_and_a_text_again(text):
    space, flat = UnicodeText(12), flatten_space(UnicodeText(12))
    array = flatten(space, text)
    assert flat.contains(array)
    assert flat.shape == (flatdim(space),)
    assert unflatten(space, array) == text


def test_case_c5_a_dict_of_texts_is_one_array():
    space = Dict({"one": UnicodeText(3), "two": UnicodeText(4)})
    array = flatten(space, {"one": "a\n", "two": "\U0001f600"})
    assert flatten_space(space).contains(array)
    assert unflatten(space, array) == {"one": "a\n", "two": "\U0001f600"}


def test_every_point_of_the_array_space_is_some_text():
    space = UnicodeText(6)
    assert all(space.contains(unflatten(space, flatten_space(space).sample())) for _ in range(20))


@given(st.lists(any_text, min_size=3, max_size=3))
def test_texts_in_shared_memory_are_those_that_were_written_last(texts):
    space = UnicodeText(12)
    memory = vector.create_shared_memory(space, n=3)
    seen = vector.read_from_shared_memory(space, memory, n=3)
    assert copy.deepcopy(seen) == ("", "", "")
    for k, text in enumerate(texts):
        vector.write_to_shared_memory(space, k, "before", memory)
        vector.write_to_shared_memory(space, k, text, memory)
    assert copy.deepcopy(seen) == tuple(texts)
    assert list(seen) == texts
    assert seen[1:] == tuple(texts[1:])
    assert (seen == tuple(texts), seen == ("", "", ""), len(seen)) == (True, not any(texts), 3)
    assert repr(seen) == repr(tuple(texts))


def test_what_was_copied_from_shared_memory_does_not_change_with_it():
    space = UnicodeText(12)
    memory = vector.create_shared_memory(space, n=1)
    vector.write_to_shared_memory(space, 0, "first", memory)
    kept = copy.deepcopy(vector.read_from_shared_memory(space, memory, n=1))
    vector.write_to_shared_memory(space, 0, "second", memory)
    assert kept == ("first",)


def test_spaces_of_other_lengths_can_be_batched_and_told_apart():
    short, long = UnicodeText(3), UnicodeText(7)
    batch = vector.batch_differing_spaces([short, long])
    assert (list(batch), batch.contains(("abc", "abcdefg"))) == ([short, long], True)
    assert not batch.contains(("abcd", ""))
    assert list(vector.iterate(vector.batch_space(short, 2), ("a", "b"))) == ["a", "b"]
    assert is_space_dtype_shape_equiv(short, UnicodeText(3))
    assert not is_space_dtype_shape_equiv(short, long)
