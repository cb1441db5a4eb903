"""Exact equilibria of two-player games given as tables of payoffs.

Zero-sum games, and all that differ from one only by rescaling and by payments that a player cannot
influence, are solved by linear programming (von Neumann). Other games are solved by a mixed-integer
programme (Sandholm, Gilpin and Conitzer, "Mixed-integer programming methods for finding Nash
equilibria", AAAI 2005), small ones by support enumeration (nashpy), which lists the equilibria. Every
solution is checked by its NashConv before it is handed out.

The row player's table is ``row``, the column player's ``column``, both shaped (rows, columns).
"""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from redteam_env.game import RedteamError

Vector = NDArray[np.float64]
Table = NDArray[np.float64]

TOLERANCE = 1e-6
"""Largest NashConv of what counts as an equilibrium, relative to the largest payoff's size."""

MOST_SUPPORTS = 200_000
TIME_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Equilibrium:
    """A pair of mixtures from which neither player gains by deviating.

    Attributes:
        row: Probability of each row.
        column: Probability of each column.
        row_value: What the row player expects.
        column_value: What the column player expects.
    """

    row: Vector
    column: Vector
    row_value: float
    column_value: float


def gains(row: ArrayLike, column: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Return what each player gains by its best response to the other's mixture.

    Args:
        row: The row player's table.
        column: The column player's.
        x: Probability of each row.
        y: Probability of each column.

    Returns:
        The row player's gain and the column player's, both at least 0.

    Raises:
        RedteamError: If the tables are no tables of one shape or the mixtures no mixtures of it.
    """
    a, b = tables(row, column)
    p, q = mixture(x, a.shape[0], "rows"), mixture(y, a.shape[1], "columns")
    by_row, by_column = a @ q, p @ b
    return (
        max(0.0, float(by_row.max() - p @ by_row)),
        max(0.0, float(by_column.max() - by_column @ q)),
    )


def nash_conv(row: ArrayLike, column: ArrayLike, x: ArrayLike, y: ArrayLike) -> float:
    """Return the sum of both players' :func:`gains`: 0 exactly at an equilibrium."""
    return sum(gains(row, column, x, y))


def zero_sum_form(row: ArrayLike, column: ArrayLike) -> Table | None:
    """Return the row player's table of a zero-sum game with the same equilibria, if there is one.

    The equilibria are the same if ``s * row + column`` is, for some ``s > 0``, the sum of a number
    for each row and one for each column: a player's number for the other's choice changes none of
    its best responses (Moulin and Vial, "Strategically zero-sum games", 1978).
    """
    a, b = tables(row, column)
    inner_a, inner_b = _interaction(a), _interaction(b)
    tolerance = 1e-9 * _size(a, b)
    scale = 1.0
    if np.abs(inner_a).max() > tolerance:
        scale = -float((inner_a * inner_b).sum() / (inner_a * inner_a).sum())
    if scale <= 1e-9 or np.abs(scale * inner_a + inner_b).max() > tolerance * max(1.0, scale):
        return None
    both = scale * a + b
    return np.asarray(scale * a - (both.mean(axis=0) - both.mean()), dtype=np.float64)


def solve_zero_sum(row: ArrayLike, column: ArrayLike | None = None) -> Equilibrium:
    """Solve a zero-sum game, or one with the equilibria of one, by linear programming.

    Args:
        row: The row player's table.
        column: The column player's; by default the negative of it.

    Returns:
        An equilibrium, valued in the tables given. In a zero-sum game all have the same values.

    Raises:
        RedteamError: If the tables do not fit or have no :func:`zero_sum_form`.
    """
    a, b = tables(row, -np.asarray(row, dtype=np.float64) if column is None else column)
    form = zero_sum_form(a, b)
    if form is None:
        raise RedteamError(
            "These tables are not zero-sum, nor equivalent to zero-sum ones: linear programming "
            "does not solve them; call equilibrium or all_equilibria."
        )
    return _checked(a, b, _maximin(form), _maximin(-form.T))


def equilibrium(row: ArrayLike, column: ArrayLike) -> Equilibrium:
    """Return one exact equilibrium.

    By linear programming for zero-sum games and equilibria with one pure column, the first that
    there is; else by the mixed-integer programme.

    Args:
        row: The row player's table.
        column: The column player's.

    Raises:
        RedteamError: If the tables do not fit, or the search takes longer than a minute (large
            general-sum games without structure can).
    """
    a, b = tables(row, column)
    if zero_sum_form(a, b) is not None:
        return solve_zero_sum(a, b)
    for pure in range(a.shape[1]):
        x = supporting_row(a, b, pure)
        if x is not None:
            return _checked(a, b, x, np.eye(a.shape[1])[pure])
    return _checked(a, b, *_mixed_integer(a, b))


def all_equilibria(row: ArrayLike, column: ArrayLike) -> list[Equilibrium]:
    """List the equilibria of a small game by support enumeration.

    A degenerate game can have infinitely many; then some of them are listed.

    Args:
        row: The row player's table.
        column: The column player's.

    Raises:
        RedteamError: If the tables do not fit, the game is too large to enumerate, or nashpy is
            missing.
    """
    a, b = tables(row, column)
    pairs = (2.0 ** a.shape[0] - 1) * (2.0 ** a.shape[1] - 1)
    if pairs > MOST_SUPPORTS:
        raise RedteamError(
            f"A game of {a.shape[0]} by {a.shape[1]} has {pairs:.0e} pairs of supports, over the "
            f"limit of {MOST_SUPPORTS}; equilibrium finds one of its equilibria."
        )
    try:
        nashpy = import_module("nashpy")
    except ImportError as error:
        raise RedteamError(
            "Support enumeration needs nashpy: pip install 'redteam-env[eval]'."
        ) from error
    found: list[Equilibrium] = []
    for x, y in nashpy.Game(a, b).support_enumeration(non_degenerate=False, tol=0.0):
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            continue
        if nash_conv(a, b, x, y) <= TOLERANCE * _size(a, b):
            new = _checked(a, b, x, y)
            same = (
                np.allclose(new.row, z.row) and np.allclose(new.column, z.column) for z in found
            )
            if not any(same):
                found.append(new)
    return found


def supporting_row(row: ArrayLike, column: ArrayLike, pure: int) -> Vector | None:
    """Return a mixture of rows that makes an equilibrium with one pure column, if there is one.

    It mixes best responses to the column so that the column is a best response to it: a linear
    programme, so the answer is exact in games of any kind.

    Args:
        row: The row player's table.
        column: The column player's.
        pure: The place of the column.

    Raises:
        RedteamError: If the tables do not fit or have no such column.
    """
    a, b = tables(row, column)
    _check_column(a, pure)
    best = np.flatnonzero(a[:, pure] >= a[:, pure].max() - 1e-9 * _size(a, b))
    better = (b[best] - b[best][:, [pure]]).T
    found = linprog(
        np.zeros(len(best)), A_ub=better, b_ub=np.zeros(len(better)), A_eq=np.ones((1, len(best))),
        b_eq=[1.0],
    )  # fmt: skip
    if found.x is None:
        return None
    x = np.zeros(len(a))
    x[best] = found.x
    y = np.eye(a.shape[1])[pure]
    return _checked(a, b, x, y).row


def tables(row: ArrayLike, column: ArrayLike) -> tuple[Table, Table]:
    """Return both tables as arrays.

    Raises:
        RedteamError: If they are empty, not two-dimensional, of different shapes or not finite.
    """
    a, b = np.asarray(row, dtype=np.float64), np.asarray(column, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise RedteamError(
            f"The payoff tables have the shapes {a.shape} and {b.shape}; give two of one shape, "
            "rows by columns, with at least one of each."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise RedteamError("A payoff is infinite or not a number.")
    return a, b


def mixture(weights: ArrayLike, n: int, what: str) -> Vector:
    """Return a mixture as an array.

    Args:
        weights: Its probabilities.
        n: How many there must be.
        what: What it mixes, for the error.

    Raises:
        RedteamError: If it is no mixture over ``n``.
    """
    p = np.asarray(weights, dtype=np.float64)
    if p.shape != (n,) or not np.isfinite(p).all() or p.min() < -1e-9 or abs(p.sum() - 1) > 1e-6:
        raise RedteamError(
            f"A mixture over {n} {what} has {n} probabilities that sum to 1; got the shape "
            f"{p.shape} with the sum {p.sum():.6g}."
        )
    return p


def _check_column(table: Table, pure: int) -> None:
    if not 0 <= pure < table.shape[1]:
        raise RedteamError(f"There is no column {pure}; the game has {table.shape[1]}, from 0.")


def _size(*found: Table) -> float:
    return max(1.0, *(float(np.abs(table).max()) for table in found))


def _interaction(table: Table) -> Table:
    centred = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return np.asarray(centred, dtype=np.float64)


def _checked(a: Table, b: Table, x: Vector, y: Vector) -> Equilibrium:
    """Clean a solver's mixtures and refuse what is no equilibrium."""
    p, q = (np.where(z < TOLERANCE, 0.0, z) for z in (x, y))
    p, q = p / p.sum(), q / q.sum()
    gap = nash_conv(a, b, p, q)
    if gap > TOLERANCE * _size(a, b) * 10:
        raise RedteamError(
            f"The solver's answer has a NashConv of {gap:.2g}: the payoffs differ too much in "
            "size for exact solving; rescale them."
        )
    return Equilibrium(row=p, column=q, row_value=float(p @ a @ q), column_value=float(p @ b @ q))


def _maximin(table: Table) -> Vector:
    """Return a mixture of rows with the largest guaranteed payoff."""
    n, m = table.shape
    upper = np.hstack([-table.T, np.ones((m, 1))])
    cost = np.r_[np.zeros(n), -1.0]
    return _solved(cost, upper, np.zeros(m), n)


def _solved(cost: Vector, upper: Table, limit: Vector, n: int) -> Vector:
    """Minimise over mixtures of ``n``; further variables are free."""
    more = len(cost) - n
    found = linprog(
        cost,
        A_ub=upper,
        b_ub=limit,
        A_eq=np.r_[np.ones(n), np.zeros(more)][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)] * more,
    )
    if found.x is None:
        raise RedteamError(f"The linear programme was not solved: {found.message}")
    return np.asarray(found.x[:n], dtype=np.float64)


def _survivors(a: Table, b: Table) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Drop strictly dominated strategies, again and again, and rows that repeat another.

    This loses no equilibrium but those that share a weight among equal rows.
    """
    rows, columns = np.arange(a.shape[0]), np.arange(a.shape[1])
    while True:
        before = len(rows), len(columns)
        inner_a, inner_b = a[np.ix_(rows, columns)], b[np.ix_(rows, columns)]
        _, first = np.unique(np.hstack([inner_a, inner_b]).round(9), axis=0, return_index=True)
        rows = rows[np.sort(first)]
        rows = rows[_undominated(a[np.ix_(rows, columns)])]
        columns = columns[_undominated(b[np.ix_(rows, columns)].T)]
        if (len(rows), len(columns)) == before:
            return rows, columns


def _undominated(table: Table) -> NDArray[np.bool_]:
    return np.array([not (table > one + 1e-9).all(axis=1).any() for one in table])


def _mixed_integer(a: Table, b: Table) -> tuple[Vector, Vector]:
    """Return an equilibrium.

    Variables: both mixtures, a mark for each strategy that may be played, both values. A strategy
    has at most its player's value, one that may be played exactly that.
    """
    rows, columns = _survivors(a, b)
    inner_a, inner_b = a[np.ix_(rows, columns)], b[np.ix_(rows, columns)]
    n, m = inner_a.shape
    width = 2 * (n + m) + 2
    x, marks = slice(0, n), n + m
    y = slice(n, n + m)
    constraints = []
    for table, mine, theirs, value in ((inner_a, x, y, -2), (inner_b.T, y, x, -1)):
        k = table.shape[0]
        mark = slice(marks + mine.start, marks + mine.stop)
        regret = np.zeros((k, width))
        regret[:, theirs], regret[:, value] = -table, 1.0
        most = float(np.ptp(table)) + 1.0
        allowed = regret.copy()
        allowed[:, mark] = most * np.eye(k)
        played = np.zeros((k, width))
        played[:, mine], played[:, mark] = np.eye(k), -np.eye(k)
        total = np.zeros((1, width))
        total[:, mine] = 1.0
        constraints += [
            LinearConstraint(regret, 0.0, np.inf),
            LinearConstraint(allowed, -np.inf, most),
            LinearConstraint(played, -np.inf, 0.0),
            LinearConstraint(total, 1.0, 1.0),
        ]
    integral = np.zeros(width)
    integral[marks : 2 * marks] = 1
    lower, upper = np.zeros(width), np.ones(width)
    lower[-2:], upper[-2:] = -np.inf, np.inf
    found = milp(
        np.zeros(width),
        constraints=constraints,
        integrality=integral,
        bounds=Bounds(lower, upper),
        options={"time_limit": TIME_LIMIT_S},
    )
    if found.status != 0 or found.x is None:
        raise RedteamError(
            f"No equilibrium of this {n} by {m} general-sum game was found in {TIME_LIMIT_S:.0f} s; "
            "leave strategies out."
        )
    p, q = np.zeros(a.shape[0]), np.zeros(a.shape[1])
    p[rows], q[columns] = found.x[x], found.x[y]
    return p, q
