"""Values of others as Python's own."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game.values import Unfit, flag, number, plain, shown, told, whole

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
)
JSON = st.recursive(
    LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4)
)


@given(JSON)
def test_plain_json_stays_what_it_is(value):
    assert json.loads(json.dumps(plain(value))) == plain(value) == value


@given(st.integers(-(2**31), 2**31 - 1), st.floats(-1.0, 1.0, width=32))
def test_numbers_of_numpy_become_pythons(integer, real):
    for kind in (np.int32, np.int64):
        assert type(whole(kind(integer))) is int
        assert whole(kind(integer)) == number(kind(integer)) == integer
    assert type(number(np.float32(real))) is float
    assert number(np.float32(real)) == real
    assert plain({"a": [np.int64(integer), np.float32(real)]}) == {"a": [integer, real]}


@pytest.mark.parametrize("value", ["no", "false", 0, 1, 0.0, None, [], np.int64(1), np.ones(2)])
def test_nothing_stands_for_a_boolean(value):
    with pytest.raises(Unfit, match="is "):
        flag(value)


@pytest.mark.parametrize("value", [True, np.True_, "1", float("nan"), np.inf, 1j, 10**400, None])
def test_what_is_no_finite_number_is_none(value):
    with pytest.raises(Unfit):
        number(value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, {1}]}, "holds {1} at ['a'][1]"),
        ({"a": {(1, 2): 3}}, "has the key (1, 2) at ['a'][(1, 2)]"),
        ({"a": object}, "holds <class 'object'> at ['a']"),
        ({"a": np.ones(2)}, "holds array([1., 1.]) at ['a']"),
        ({"a": b"b"}, "holds b'b' at ['a']"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(value, where):
    with pytest.raises(Unfit) as caught:
        plain(value)
    assert caught.value.came == where


def test_a_value_that_holds_itself_or_is_nested_too_deep_is_refused():
    own = []
    own.append(own)
    deep = [0]
    for _ in range(1000):
        deep = [deep]
    for value in (own, deep):
        with pytest.raises(Unfit, match="nested too deep"):
            plain(value)


def test_a_message_never_fails_itself():
    class Broken:
        def __repr__(self):
            raise ValueError

    class BrokenError(Exception):
        def __str__(self):
            raise ValueError

    assert shown(Broken()) == "a Broken"
    assert told(BrokenError()) == "BrokenError"
    assert len(shown("a" * 10_000)) < 100
    assert "\n" not in shown(np.ones((9, 9))) + told(ValueError("a\nb"))
