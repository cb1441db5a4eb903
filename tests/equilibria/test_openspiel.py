"""Solutions beside OpenSpiel's, which finds them in other ways, and nashpy's."""

import numpy as np
import pytest

from redteam_env.equilibria.dynamics import replicator
from redteam_env.equilibria.solve import equilibrium, nash_conv, solve_zero_sum

pyspiel = pytest.importorskip("pyspiel")
play = pytest.importorskip("open_spiel.python.algorithms.fictitious_play")
dynamics = pytest.importorskip("open_spiel.python.egt.dynamics")
exploitability = pytest.importorskip("open_spiel.python.algorithms.exploitability")
values = pytest.importorskip("open_spiel.python.algorithms.expected_game_score")
policies = pytest.importorskip("open_spiel.python.policy")

SHAPES = [(2, 2), (3, 5), (6, 4)]


def random_tables(shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=(2, *shape)).round(2)


def game_of(row, column):
    game = pyspiel.create_matrix_game(row.tolist(), column.tolist())
    return pyspiel.convert_to_turn_based(game)


def policy_of(game, row, column):
    policy = policies.TabularPolicy(game)
    policy.action_probability_array[:] = 0.0
    for k, mixture in enumerate((row, column)):
        policy.action_probability_array[k, : len(mixture)] = mixture
    return policy


@pytest.mark.parametrize("shape", SHAPES)
def test_openspiels_best_responses_gain_nothing_against_a_solution(shape):
    tables = random_tables(shape)
    for row, column in ((tables[0], -tables[0]), tuple(tables)):
        found = equilibrium(row, column)
        game = game_of(row, column)
        theirs = exploitability.nash_conv(game, policy_of(game, found.row, found.column))
        assert theirs == pytest.approx(0.0, abs=1e-6)
        expected = values.policy_value(
            game.new_initial_state(), [policy_of(game, found.row, found.column)] * 2
        )
        assert (found.row_value, found.column_value) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_openspiel_gains_as_much_by_deviating_from_any_mixtures(shape):
    row, column = random_tables(shape, seed=1)
    draw = np.random.default_rng(2)
    x, y = (draw.dirichlet(np.ones(n)) for n in shape)
    game = game_of(row, column)
    theirs = exploitability.nash_conv(game, policy_of(game, x, y))
    assert nash_conv(row, column, x, y) == pytest.approx(theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_openspiels_fictitious_play_comes_to_the_value_of_a_zero_sum_game(shape):
    row = random_tables(shape, seed=3)[0]
    game = game_of(row, -row)
    solver = play.XFPSolver(game)
    for _ in range(300):
        solver.iteration()
    average = solver.average_policy()
    short = exploitability.nash_conv(game, average)
    assert short < 0.1
    theirs = values.policy_value(game.new_initial_state(), [average] * 2)[0]
    # no mixture's value is further from the game's than what it leaves to the best responses
    assert solve_zero_sum(row).row_value == pytest.approx(theirs, abs=short + 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_openspiels_replicator_dynamics_take_the_same_course(shape):
    tables = random_tables(shape, seed=4)
    draw = np.random.default_rng(5)
    start = tuple(draw.dirichlet(np.ones(n)) for n in shape)
    field = dynamics.MultiPopulationDynamics(tables, [dynamics.replicator] * 2)
    size = 1e-4
    path = replicator(*tables, steps=200, step_size=size, start=start)
    for k in (0, 100, 199):
        state = np.concatenate([path.row[k], path.column[k]])
        moved = np.concatenate([path.row[k + 1], path.column[k + 1]]) - state
        assert moved / size == pytest.approx(field(state), abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_nashpys_vertices_have_the_same_value_in_a_zero_sum_game(shape):
    nashpy = pytest.importorskip("nashpy")
    row = random_tables(shape, seed=6)[0]
    game = nashpy.Game(row, -row)
    found = list(game.vertex_enumeration())
    assert found
    for x, y in found:
        assert solve_zero_sum(row).row_value == pytest.approx(float(game[x, y][0]))
