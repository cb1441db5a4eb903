"""The pay-off matrix grows by a row and a column, and comes back from JSON as it was."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.opponents.payoffs import PayoffTable, mean_payoffs
from redteam_env.game import RedteamError
from redteam_env.protocols import Result


def pay(attacker, defender):
    a, d = int(attacker[1:]), int(defender[1:])
    return {"attacker": a - d / 10, "defender": d - a / 10}


def grown(rounds):
    table = PayoffTable()
    for k in range(rounds):
        new = f"a{k}", f"d{k}"
        table.grow(*new, {pair: pay(*pair) for pair in table.missing(*new)})
    return table


@given(st.integers(min_value=0, max_value=6))
def test_after_each_round_every_pair_has_its_payoff(rounds):
    table = grown(rounds)
    for role in ("attacker", "defender"):
        expected = [[pay(a, d)[role] for d in table.defenders] for a in table.attackers]
        assert table.table(role).tolist() == expected
        assert table.table(role).shape == (rounds, rounds)


def test_a_round_asks_for_one_row_and_one_column_only():
    table = grown(3)
    assert len(table.missing("a3", "d3")) == 7
    assert len(table.missing("a3", "d1")) == 3
    assert len(table.missing("a1", "d3")) == 3
    assert table.missing("a1", "d1") == []


def test_a_version_that_is_there_is_not_added_again():
    table = grown(2)
    table.grow("a1", "d2", {pair: pay(*pair) for pair in table.missing("a1", "d2")})
    assert (table.attackers, table.defenders) == (["a0", "a1"], ["d0", "d1", "d2"])
    assert table.table("attacker").shape == (2, 3)


@pytest.mark.parametrize("role", ["attacker", "defender"])
def test_removing_a_version_leaves_the_others_payoffs(role):
    table = grown(3)
    removed = table.remove(role, 1)
    assert removed == f"{role[0]}1"
    expected = [[pay(a, d)["defender"] for d in table.defenders] for a in table.attackers]
    assert np.array_equal(table.table("defender"), expected)


def test_a_table_comes_back_from_json_as_it_was():
    table = grown(3)
    assert PayoffTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_a_table_of_another_shape_than_its_names_is_refused():
    data = grown(2).to_json()
    data["payoffs"]["defender"][1].pop()
    with pytest.raises(RedteamError, match="defender does not have 2 rows of 2"):
        PayoffTable.from_json(data)


def test_payoffs_are_means_over_games_and_unknown_without_any():
    games = [Result(players={}, payoffs={"attacker": x, "defender": -x}) for x in (1.0, 2.0)]
    assert mean_payoffs(games, ("a", "d")) == {"attacker": 1.5, "defender": -1.5}
    with pytest.raises(RedteamError, match="'a' against 'd' are void"):
        mean_payoffs([], ("a", "d"))
