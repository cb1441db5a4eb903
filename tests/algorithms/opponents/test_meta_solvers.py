"""Meta-strategies of games whose equilibria are known."""

import numpy as np
import pytest

from algorithms.opponents.meta import SOLVERS, entropy, meta_strategies
from redteam_env.equilibria.solve import nash_conv
from redteam_env.game import RedteamError

PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
ROCK_PAPER_SCISSORS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
BIASED = np.array([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])
DOMINATED = np.array([[3.0, 2.0], [1.0, 0.0]])
CHICKEN = (np.array([[0.0, 7.0], [2.0, 6.0]]), np.array([[0.0, 2.0], [7.0, 6.0]]))
EXACT = ("auto", "lp", "nash")


@pytest.mark.parametrize("solver", SOLVERS)
def test_matching_pennies_is_played_evenly(solver):
    row, column = meta_strategies(PENNIES, -PENNIES, solver)
    assert row == pytest.approx([0.5, 0.5], abs=1e-3)
    assert column == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rock_paper_scissors_is_played_evenly(solver):
    for mixture in meta_strategies(ROCK_PAPER_SCISSORS, -ROCK_PAPER_SCISSORS, solver):
        assert mixture == pytest.approx([1 / 3] * 3, abs=1e-3)


@pytest.mark.parametrize("solver", EXACT)
def test_a_biased_cycle_is_solved_exactly(solver):
    for mixture in meta_strategies(BIASED, -BIASED, solver):
        assert mixture == pytest.approx([0.25, 0.5, 0.25], abs=1e-6)


def test_the_average_of_the_replicator_dynamics_comes_close_to_it():
    for mixture in meta_strategies(BIASED, -BIASED, "replicator"):
        assert mixture == pytest.approx([0.25, 0.5, 0.25], abs=0.05)


@pytest.mark.parametrize("solver", [x for x in SOLVERS if x != "uniform"])
def test_what_is_dominated_is_not_played(solver):
    row, column = meta_strategies(DOMINATED, -DOMINATED, solver)
    assert row == pytest.approx([1.0, 0.0], abs=1e-3)
    assert column == pytest.approx([0.0, 1.0], abs=1e-3)


def test_of_several_equilibria_nash_takes_the_one_that_mixes_most():
    row, column = meta_strategies(*CHICKEN, "nash")
    assert row == pytest.approx([1 / 3, 2 / 3])
    assert column == pytest.approx([1 / 3, 2 / 3])


def test_nash_solves_tables_that_are_too_large_to_enumerate():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8, 8))
    assert nash_conv(a, b, *meta_strategies(a, b, "nash")) < 1e-6


def test_auto_solves_scaled_zero_sum_tables_exactly_and_others_by_dynamics():
    shifted = -2 * BIASED + np.array([[5.0], [1.0], [0.0]])
    row, _ = meta_strategies(BIASED, shifted, "auto")
    assert row == pytest.approx([0.25, 0.5, 0.25], abs=1e-6)
    for one, two in zip(
        meta_strategies(*CHICKEN, "auto"), meta_strategies(*CHICKEN, "replicator"), strict=True
    ):
        assert np.array_equal(one, two)


def test_what_cannot_be_solved_or_is_unknown_is_refused():
    with pytest.raises(RedteamError, match="not zero-sum"):
        meta_strategies(*CHICKEN, "lp")
    with pytest.raises(RedteamError, match="replicator"):
        meta_strategies(PENNIES, -PENNIES, "replicatr")


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_version_of_each_is_played_alone(solver):
    for mixture in meta_strategies(np.array([[0.3]]), np.array([[0.7]]), solver):
        assert mixture.tolist() == [1.0]


def test_entropy_is_that_of_the_mixture():
    assert entropy(np.array([0.5, 0.5, 0.0])) == pytest.approx(np.log(2))
    assert entropy(np.array([1.0, 0.0])) == 0.0


RANDOM = np.random.default_rng(1).normal(size=(2, 4, 5))


@pytest.mark.parametrize(
    ("solver", "row", "column"),
    [
        ("lp", BIASED, -BIASED),
        ("lp", RANDOM[0], -RANDOM[0]),
        ("nash", *CHICKEN),
        ("nash", *RANDOM),
        ("replicator", *RANDOM),
    ],
)
def test_openspiel_finds_the_same_gain_in_deviating(solver, row, column):
    pyspiel = pytest.importorskip("pyspiel")
    policies = pytest.importorskip("open_spiel.python.policy")
    best = pytest.importorskip("open_spiel.python.algorithms.exploitability")
    x, y = meta_strategies(row, column, solver)
    game = pyspiel.convert_to_turn_based(pyspiel.create_matrix_game(row.tolist(), column.tolist()))
    policy = policies.TabularPolicy(game)
    for k, mixture in enumerate((x, y)):
        policy.action_probability_array[k] = 0.0
        policy.action_probability_array[k, : len(mixture)] = mixture
    theirs = best.nash_conv(game, policy)
    assert theirs == pytest.approx(nash_conv(row, column, x, y), abs=1e-9)
    assert solver == "replicator" or theirs < 1e-6
