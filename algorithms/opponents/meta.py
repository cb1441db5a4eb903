"""Meta-strategies: from a pay-off matrix to how often each version is met.

Zero-sum tables are solved by linear programming; others by support enumeration (nashpy) or, by default,
by the time average of the replicator dynamics, which PSRO's authors prefer to a sharp equilibrium
because every version that does not lose keeps a share (Lanctot et al., arXiv 1711.00832, sec. 3.1; ours
lacks their lower bound on shares).
"""

import warnings
from typing import Literal, get_args

import numpy as np

from redteam_env.equilibria.dynamics import replicator
from redteam_env.equilibria.solve import (
    Equilibrium,
    Table,
    Vector,
    all_equilibria,
    equilibrium,
    solve_zero_sum,
    zero_sum_form,
)
from redteam_env.game import unknown_name

MetaSolver = Literal["auto", "lp", "nash", "replicator", "uniform"]
SOLVERS = get_args(MetaSolver)
MOST_PAIRS = 5_000
"""Most pairs of supports that are enumerated: 6 by 6 versions, within about a second."""
STEPS = 1000
STEP_SIZE = 0.2


def meta_strategies(
    row: Table, column: Table, solver: MetaSolver = "auto"
) -> tuple[Vector, Vector]:
    """Return a mixture of rows and one of columns.

    Args:
        row: The row player's pay-offs, shaped (rows, columns).
        column: The column player's.
        solver: lp (zero-sum tables, and those that differ from one in ways that change no best
            response), nash (the equilibrium with the largest entropy of a small table, one
            equilibrium of a larger one), replicator, uniform, or auto (lp where it applies, else
            replicator).

    Raises:
        RedteamError: If the solver is unknown, the tables do not fit, or lp is asked to solve what it
            cannot.
    """
    if solver not in SOLVERS:
        raise unknown_name("meta solver", solver, SOLVERS)
    if solver == "auto":
        solver = "replicator" if zero_sum_form(row, column) is None else "lp"
    if solver == "lp":
        found = solve_zero_sum(row, column)
        return found.row, found.column
    if solver == "nash":
        best = _widest(row, column)
        return best.row, best.column
    if solver == "replicator":
        return _replicated(row, column)
    n, m = row.shape
    return np.full(n, 1 / n), np.full(m, 1 / m)


def _widest(row: Table, column: Table) -> Equilibrium:
    """Return the equilibrium with the largest entropy, or any one of a game too large to enumerate."""
    n, m = row.shape
    found = []
    if (2.0**n - 1) * (2.0**m - 1) <= MOST_PAIRS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nashpy warns of degenerate games
            found = all_equilibria(row, column)
    if not found:
        return equilibrium(row, column)
    return max(found, key=lambda x: round(entropy(x.row) + entropy(x.column), 9))


def _replicated(row: Table, column: Table) -> tuple[Vector, Vector]:
    """Return time averages of the dynamics; the second half, when the start is forgotten."""
    size = max(1e-12, float(np.ptp(row)), float(np.ptp(column)))
    path = replicator(row / size, column / size, steps=STEPS, step_size=STEP_SIZE)
    x, y = (shares[STEPS // 2 :].mean(axis=0) for shares in (path.row, path.column))
    return x / x.sum(), y / y.sum()


def entropy(mixture: Vector) -> float:
    """Return a mixture's entropy in nats."""
    played = mixture[mixture > 0]
    return max(0.0, -float((played * np.log(played)).sum()))
