"""The words of a report never claim more than an interval does."""

import json

from hypothesis import given
from hypothesis import strategies as st

from redteam_env.evaluation import Difference, Interval, Rate
from redteam_env.page import words
from redteam_env.page.sources import Kind, Source

CLAIMS = ("fell", "rose", "lower", "higher", "above 0:", "below 0:")
RATES = st.integers(0, 400).flatmap(lambda n: st.builds(Rate, k=st.integers(0, n), n=st.just(n)))
ENDS = st.lists(st.floats(-1, 1, allow_nan=False), min_size=2, max_size=2).map(sorted)


def overlap(a, b):
    return a.low <= b.high and b.low <= a.high


def claims(text):
    return [x for x in CLAIMS if x in text]


@given(RATES, RATES)
def test_rates_whose_intervals_overlap_are_not_said_to_differ(first, second):
    moved = words.moved("attack_success", first, second, ("the first step", "the last step"))
    rewriting = words.rewriting("attack success", first, second) or ""
    told = claims(moved.partition(". ")[2]) + claims(rewriting.partition(". ")[2])
    if not first.n or not second.n or overlap(first.interval, second.interval):
        assert not told
    else:
        rose = second.interval.low > first.interval.high
        assert told == (["rose", "higher"] if rose else ["fell", "lower"])


@given(ENDS, st.floats(0, 1))
def test_a_difference_whose_interval_holds_0_is_not_said_to_be_one(ends, place):
    low, high = ends
    found = Difference(low + place * (high - low), Interval(low, high), 20, 20)
    text = words.differs("attack_success", found, ("old", "new"))
    expected = ["lower", "below 0:"] if high < 0 else ["higher", "above 0:"] if low > 0 else []
    assert sorted(claims(text)) == sorted(expected)


@given(st.lists(ENDS, min_size=1, max_size=5))
def test_defenders_are_told_from_the_first_only_where_an_interval_leaves_out_0(every):
    rows = [
        {"rate": "attack_success", "defender": "d", "against": "first", "interval": ends}
        for ends in every
    ]
    source = Source(name="x", kind=Kind.CROSSPLAY, record={"result": {"differences": rows}})
    (text,) = words.against_first(source, ["attack_success"])
    lower, higher = sum(b < 0 for _, b in every), sum(a > 0 for a, _ in every)
    if lower or higher:
        assert f"d lower against {lower} and higher against {higher} of {len(every)} " in text
    else:
        assert "d told apart against no attacker" in text


@given(st.lists(ENDS, min_size=1, max_size=5))
def test_a_leader_is_told_above_those_only_whose_difference_leaves_out_0(every):
    verdicts = [
        {"first": "a.shared", "second": f"b{k}.shared", "interval": ends}
        if k % 2
        else {"first": f"b{k}.shared", "second": "a.shared", "interval": [-ends[1], -ends[0]]}
        for k, ends in enumerate(every)
    ]
    cell = {"label": "a", "arrangement": "shared", "scores": {"defence": {"value": 0.5}}}
    record = json.loads(json.dumps({"cells": [cell], "verdicts": {"defence": verdicts}}))
    text = words.leading(Source(name="x", kind=Kind.BENCH, record=record))
    above, below = sum(a > 0 for a, _ in every), sum(b < 0 for _, b in every)
    under = f", below {below}" if below else ""
    rest = len(every) - above - below
    assert (
        f"of {len(every)} others it is told to be above {above}{under}, and not told from {rest}."
        in text
    )
