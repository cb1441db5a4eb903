"""Equilibria of games whose solutions are known by hand, and what holds in every game."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from redteam_env.equilibria.solve import (
    all_equilibria,
    equilibrium,
    gains,
    nash_conv,
    solve_zero_sum,
    supporting_row,
    zero_sum_form,
)
from redteam_env.game import RedteamError

PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
ROCK_PAPER_SCISSORS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
BATTLE = (np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 2.0]]))
PRISONERS = (np.array([[3.0, 0.0], [5.0, 1.0]]), np.array([[3.0, 5.0], [0.0, 1.0]]))
# both must mix: the column player so that 3 q = 1 - q, the row player so that 4 (1 - p) = p
MIXED = (np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [4.0, 0.0]]))
# the same with a third column that keeps it from being a zero-sum game in disguise
GENERAL = (
    np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    np.array([[0.0, 1.0, -1.0], [4.0, 0.0, -2.0]]),
)

payoffs = st.floats(-5, 5).map(lambda x: round(x, 2))
shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
matrices = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=payoffs))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))
bimatrices = small.flatmap(
    lambda shape: st.tuples(*(arrays(np.float64, shape, elements=payoffs) for _ in range(2)))
)


def test_matching_pennies_are_tossed():
    found = solve_zero_sum(PENNIES)
    assert found.row == pytest.approx([0.5, 0.5])
    assert found.column == pytest.approx([0.5, 0.5])
    assert (found.row_value, found.column_value) == pytest.approx((0, 0))


def test_rock_paper_and_scissors_are_played_alike():
    found = solve_zero_sum(ROCK_PAPER_SCISSORS)
    assert found.row == pytest.approx([1 / 3] * 3)
    assert found.row_value == pytest.approx(0)


def test_a_skewed_zero_sum_game_has_its_known_value():
    found = solve_zero_sum([[3.0, -1.0], [-2.0, 1.0]])
    assert found.row == pytest.approx([3 / 7, 4 / 7])
    assert found.column == pytest.approx([2 / 7, 5 / 7])
    assert found.row_value == pytest.approx(1 / 7)


def test_the_dominant_strategy_of_the_prisoners_is_the_only_equilibrium():
    (found,) = all_equilibria(*PRISONERS)
    assert found.row == pytest.approx([0, 1])
    assert found.column == pytest.approx([0, 1])
    assert supporting_row(*PRISONERS, 0) is None


def test_the_battle_of_the_sexes_has_its_three_equilibria():
    found = {tuple(np.round(x.row, 6)) for x in all_equilibria(*BATTLE)}
    assert found == {(1, 0), (0, 1), (0.666667, 0.333333)}
    assert supporting_row(*BATTLE, 0) == pytest.approx([1, 0])
    assert supporting_row(*BATTLE, 1) == pytest.approx([0, 1])
    assert nash_conv(*BATTLE, *(equilibrium(*BATTLE).row, equilibrium(*BATTLE).column)) < 1e-6


def test_a_general_sum_game_where_both_must_mix_is_solved_without_nashpy():
    assert zero_sum_form(*GENERAL) is None
    found = equilibrium(*GENERAL)
    assert found.row == pytest.approx([0.8, 0.2])
    assert found.column == pytest.approx([0.25, 0.75, 0])
    (listed,) = all_equilibria(*GENERAL)
    assert listed.column == pytest.approx(found.column)


def test_a_game_of_two_by_two_can_be_zero_sum_in_disguise():
    assert zero_sum_form(*MIXED) is not None
    assert solve_zero_sum(*MIXED).column == pytest.approx([0.25, 0.75])


def test_rescaling_and_side_payments_leave_a_zero_sum_game_solvable():
    column = -2 * PENNIES + np.array([[5.0], [7.0]])
    row = PENNIES + np.array([[1.0, -3.0]])
    found = solve_zero_sum(row, column)
    assert found.row == pytest.approx([0.5, 0.5])
    assert found.row_value == pytest.approx(-1)
    assert found.column_value == pytest.approx(6)


@given(matrices)
def test_the_value_lies_between_what_both_players_can_guarantee_purely(table):
    found = solve_zero_sum(table)
    assert table.min(axis=1).max() - 1e-6 <= found.row_value <= table.max(axis=0).min() + 1e-6
    assert found.column_value == pytest.approx(-found.row_value)
    assert nash_conv(table, -table, found.row, found.column) < 1e-4


@given(matrices)
def test_the_value_of_the_mirrored_game_is_the_negative(table):
    assert solve_zero_sum(-table.T).row_value == pytest.approx(
        -solve_zero_sum(table).row_value, abs=1e-6
    )


@given(bimatrices)
def test_every_game_has_an_equilibrium_and_it_is_one(pair):
    a, b = pair
    found = equilibrium(a, b)
    assert nash_conv(a, b, found.row, found.column) < 1e-4
    assert found.row.sum() == pytest.approx(1)


@given(bimatrices, st.integers(0, 2), st.integers(0, 2))
def test_no_pair_of_mixtures_has_a_negative_gain(pair, i, j):
    a, b = pair
    x, y = np.eye(a.shape[0])[i % a.shape[0]], np.eye(a.shape[1])[j % a.shape[1]]
    mine, theirs = gains(a, b, x, y)
    assert mine >= 0
    assert theirs >= 0
    assert nash_conv(a, b, x, y) == mine + theirs


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((PENNIES, ROCK_PAPER_SCISSORS), r"shapes \(2, 2\) and \(3, 3\)"),
        (([1.0, 2.0], [1.0, 2.0]), "rows by columns"),
        ((np.zeros((0, 2)), np.zeros((0, 2))), "at least one"),
        (([[np.nan]], [[0.0]]), "not a number"),
    ],
)
def test_tables_that_are_none_are_refused(tables, message):
    with pytest.raises(RedteamError, match=message):
        equilibrium(*tables)


def test_linear_programming_refuses_a_general_sum_game():
    with pytest.raises(RedteamError, match="not zero-sum"):
        solve_zero_sum(*BATTLE)


@pytest.mark.parametrize("mixture", [[1.0], [0.7, 0.7], [1.5, -0.5], [np.nan, 1.0]])
def test_a_mixture_that_is_none_is_refused(mixture):
    with pytest.raises(RedteamError, match="sum to 1"):
        nash_conv(PENNIES, -PENNIES, mixture, [0.5, 0.5])


def test_a_column_that_there_is_not_is_refused():
    for place in (-1, 2):
        with pytest.raises(RedteamError, match=f"no column {place}"):
            supporting_row(PENNIES, -PENNIES, place)


def test_a_game_too_large_to_enumerate_is_refused():
    with pytest.raises(RedteamError, match="limit"):
        all_equilibria(np.zeros((64, 16)), np.zeros((64, 16)))


def test_without_nashpy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nashpy", None)
    with pytest.raises(RedteamError, match=r"redteam-env\[eval\]"):
        all_equilibria(*BATTLE)
