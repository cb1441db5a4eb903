"""Stored figures are compared with those computed again: by name, and but for rounding."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.studies.verify import differences

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e3, 1e3), st.text(max_size=3)),
    lambda x: st.one_of(
        st.lists(x, max_size=3), st.dictionaries(st.text(max_size=3), x, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_equal_figures_have_no_differences(value):
    assert differences(value, json.loads(json.dumps(value))) == []


@pytest.mark.parametrize(
    ("stored", "computed", "line"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-8}, "/a: 1.0 stored, 1.00000001 now"),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 3.0]}, "/a/1: 2.0 stored, 3.0 now"),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, "/a has 1 entries, not 2"),
        ({"a": None}, {"a": 1.0}, "/a: None stored, 1.0 now"),
        ({"a": 1}, {}, "/a is missing on one side"),
        ({}, {"a": None}, "/a is missing on one side"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "/a/b: 'x' stored, 'y' now"),
        ({"a": {"b": 1}}, {"a": 1}, "/a: {'b': 1} stored, 1 now"),
        ({"a": float("nan")}, {"a": 1.0}, "/a: nan stored, 1.0 now"),
        ({"a": float("inf")}, {"a": 1.0}, "/a: inf stored, 1.0 now"),
        ({"a": 2}, {"a": 1.0}, "/a: 2 stored, 1.0 now"),
        ({"a": True}, {"a": 1.0}, "/a: True stored, 1.0 now"),
        ({"a": True}, {"a": 1}, "/a: True stored, 1 now"),
        ({"a": 10**12}, {"a": 10**12 + 1}, "/a: 1000000000000 stored, 1000000000001 now"),
    ],
)
def test_each_difference_is_named_by_its_place(stored, computed, line):
    assert differences(stored, computed) == [line]


def test_numbers_differ_by_more_than_rounding_or_not_at_all():
    assert differences({"a": 0.1 + 0.2}, {"a": 0.3}) == []
    assert differences({"a": 1e9}, {"a": 1e9 + 0.5}) == []
    assert differences([0.0, 0], [1e-17, 1e-17]) == []
    assert differences([0.0], [1e-10]) == ["/0: 0.0 stored, 1e-10 now"]
    assert differences([1e-6], [1.00001e-6]) == ["/0: 1e-06 stored, 1.00001e-06 now"]


def test_many_differences_are_cut_to_ten():
    assert len(differences({str(k): k for k in range(99)}, {str(k): -1 for k in range(99)})) == 10
    assert len(differences(list(range(99)), list(range(1, 100)))) == 10


def cells(*scores):
    return [{"label": "ppo", "arrangement": name, "score": x} for name, x in scores]


def test_records_are_found_by_their_names_wherever_they_stand():
    stored = cells(("shared", 0.5), ("bipolicy", float(np.nextafter(0.5, 1))))
    assert differences(stored, cells(("bipolicy", 0.5), ("shared", 0.5))) == []
    assert differences(stored, cells(("bipolicy", 0.5), ("shared", 0.5 + 1e-6)), "cells") == [
        "cells/ppo, shared/score: 0.5 stored, 0.500001 now"
    ]
    assert differences(stored, cells(("bipolicy", 0.5)), "cells") == [
        "cells/ppo, shared is missing on one side"
    ]


def test_records_without_names_of_their_own_are_compared_by_place():
    for twice in ([{"mean": 1.0}, {"mean": 2.0}], cells(("shared", 1.0), ("shared", 2.0))):
        assert differences(twice, twice) == []
        assert len(differences(twice, twice[::-1])) == 2
