"""How two populations or two learners move on a table of payoffs, and where they end.

An equilibrium says where learning may rest, these say where it goes. Replicator dynamics (Taylor
and Jonker, 1978) are the limit of reinforcement with small steps; fictitious play (Brown, 1951)
answers the other's average so far, as training against all past opponents does. Both are
deterministic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from redteam_env.equilibria.solve import Table, Vector, mixture, nash_conv, tables
from redteam_env.game import RedteamError

SHOWN_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Mixtures over time.

    Attributes:
        row: Probability of each row at each time, shaped (times, rows), the start first.
        column: The same of the columns.
        times: In units of the dynamics: continuous time, or rounds.
    """

    row: Table
    column: Table
    times: Vector

    def nash_convs(self, row: ArrayLike, column: ArrayLike, every: int = 1) -> Vector:
        """Return the NashConv of every ``every``-th pair of mixtures under two payoff tables."""
        pairs = zip(self.row[::every], self.column[::every], strict=True)
        return np.array([nash_conv(row, column, x, y) for x, y in pairs])


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


def fictitious_play(
    row: ArrayLike,
    column: ArrayLike,
    *,
    steps: int = 2000,
    start: tuple[ArrayLike, ArrayLike] | None = None,
) -> Trajectory:
    """Play, each round, the best response to the other's average so far.

    Ties go to the strategy listed first. In zero-sum games the averages approach an equilibrium
    (Robinson, 1951); in others they may cycle.

    Args:
        row: The row player's table.
        column: The column player's.
        steps: How many rounds.
        start: What both believe before the first round, with the weight of one round; by default
            uniform.

    Returns:
        The averages after each round.

    Raises:
        RedteamError: If tables, mixtures or ``steps`` are out of range.
    """
    a, b = tables(row, column)
    x, y = _start(a, steps, start)
    rows, columns = np.empty((steps + 1, len(x))), np.empty((steps + 1, len(y)))
    rows[0], columns[0] = x, y
    for k in range(1, steps + 1):
        i, j = int(np.argmax(a @ columns[k - 1])), int(np.argmax(rows[k - 1] @ b))
        rows[k], columns[k] = rows[k - 1] * (k / (k + 1)), columns[k - 1] * (k / (k + 1))
        rows[k, i] += 1 / (k + 1)
        columns[k, j] += 1 / (k + 1)
    return Trajectory(row=rows, column=columns, times=np.arange(steps + 1, dtype=np.float64))


def plot_dynamics(
    path: str | Path,
    trajectory: Trajectory,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
) -> Path:
    """Draw the shares of both players' strategies over time as an SVG file.

    The strategies with the largest shares at any time have a line each.

    Args:
        path: Where to write; the folder must exist.
        trajectory: What to draw.
        rows: Names of the row player's strategies.
        columns: Names of the column player's.
        title: Stands above.

    Returns:
        The path.

    Raises:
        RedteamError: If there are not as many names as strategies, or matplotlib is missing.
    """
    sides: Mapping[str, tuple[Table, Sequence[str]]] = {
        "attacker": (trajectory.row, rows),
        "defender": (trajectory.column, columns),
    }
    for side, (shares, names) in sides.items():
        if shares.shape[1] != len(names):
            raise RedteamError(
                f"There are {shares.shape[1]} strategies of the {side} and {len(names)} names."
            )
    try:
        figures, matplotlib = import_module("matplotlib.figure"), import_module("matplotlib")
    except ImportError as error:
        raise RedteamError("A plot needs matplotlib: pip install 'redteam-env[report]'.") from error
    figure = figures.Figure(figsize=(10, 4), layout="constrained")
    for axes, (side, (shares, names)) in zip(figure.subplots(1, 2), sides.items(), strict=True):
        for k in np.argsort(-shares.max(axis=0), kind="stable")[:SHOWN_LINES]:
            axes.plot(trajectory.times, shares[:, k], label=str(k))
        texts = axes.legend(fontsize="small").get_texts()
        for text in texts:
            text.set_text(names[int(text.get_text())])
            text.set_parse_math(False)
        axes.set(xlabel="time", ylabel="share", ylim=(-0.02, 1.02), title=side)
    figure.suptitle(title, parse_math=False)
    target = Path(path)
    with matplotlib.rc_context({"svg.hashsalt": "redteam-env"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target


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
