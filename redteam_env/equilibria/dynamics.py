"""How two populations move on a table of payoffs, and where they end.

An equilibrium says where learning may rest, the replicator dynamics (Taylor and Jonker, 1978) say where
it goes: they are the limit of reinforcement with small steps. They are deterministic.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from redteam_env.equilibria.solve import Table, Vector, mixture, tables
from redteam_env.game import RedteamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Mixtures over time.

    Attributes:
        row: Probability of each row at each time, shaped (times, rows), the start first.
        column: The same of the columns.
        times: The time of each, from 0.
    """

    row: Table
    column: Table
    times: Vector


def replicator(
    row: ArrayLike,
    column: ArrayLike,
    *,
    steps: int = 2000,
    step_size: float = 0.1,
    start: tuple[ArrayLike, ArrayLike] | None = None,
) -> Trajectory:
    """Follow the replicator dynamics: a strategy's share grows at the rate of its advantage.

    Integrated with the fourth-order Runge-Kutta rule in log shares, so no share leaves the simplex.

    Args:
        row: The row player's table.
        column: The column player's.
        steps: How many steps.
        step_size: Time a step; keep it well below one over the size of the payoffs.
        start: Mixtures to start from, by default uniform; a share of 0 stays 0.

    Raises:
        RedteamError: If tables, mixtures, ``steps`` or ``step_size`` are out of range.
    """
    a, b = tables(row, column)
    x, y = _start(a, steps, start)
    if not (np.isfinite(step_size) and step_size > 0):
        raise RedteamError(f"step_size is {step_size}; give a number above 0.")
    with np.errstate(divide="ignore"):
        state = (np.log(x), np.log(y))
    rows, columns = [x], [y]

    def slope(p: Vector, q: Vector) -> tuple[Vector, Vector]:
        return a @ _shares(q), _shares(p) @ b

    for _ in range(steps):
        p, q = state
        h = step_size
        k1 = slope(p, q)
        k2 = slope(p + h / 2 * k1[0], q + h / 2 * k1[1])
        k3 = slope(p + h / 2 * k2[0], q + h / 2 * k2[1])
        k4 = slope(p + h * k3[0], q + h * k3[1])
        p = p + h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        q = q + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        state = (p - p.max(), q - q.max())
        rows.append(_shares(p))
        columns.append(_shares(q))
    times = np.linspace(0.0, steps * step_size, steps + 1, dtype=np.float64)
    return Trajectory(row=np.stack(rows), column=np.stack(columns), times=times)


def _start(
    table: Table, steps: int, start: tuple[ArrayLike, ArrayLike] | None
) -> tuple[Vector, Vector]:
    if steps < 1:
        raise RedteamError(f"steps is {steps}; take at least 1.")
    n, m = table.shape
    x, y = (np.full(n, 1 / n), np.full(m, 1 / m)) if start is None else start
    return mixture(x, n, "rows"), mixture(y, m, "columns")


def _shares(logs: Vector) -> NDArray[np.float64]:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
