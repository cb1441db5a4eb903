"""The command ``speed``: what things take on this machine, beside what they should take.

It measures and never judges: the budgets are those of one thread of a common server, and a slower
or busier machine is no fault. The measuring is in :mod:`algorithms.speed.measures`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

import tyro
from rich.table import Table

from algorithms.speed.rows import Measured, SpeedConfig
from redteam_env.report import make_console, progress_bar

SCHEMA = 1


def speed(argv: Sequence[str]) -> int:
    """Measure training, judging and solving on this machine, beside their budgets.

    Args:
        argv: The command's arguments.

    Returns:
        0, whatever was measured.
    """
    options = tyro.cli(
        SpeedConfig,
        args=list(argv),
        prog="redteam-env speed",
        description="Measure training, judging and solving in the controlled world on this machine, "
        "beside their budgets. Run it on an idle machine; nothing is downloaded or kept.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from algorithms.speed.measures import measure  # noqa: PLC0415 - listing commands imports no torch

    with progress_bar(visible=not options.json) as progress:
        rows = measure(options, progress)
    if options.json:
        record = {"schema": SCHEMA, "options": asdict(options), "rows": [asdict(x) for x in rows]}
        print(json.dumps(record, indent=1))  # noqa: T201 - the command's output
        return 0
    console = make_console()
    console.print(table(rows, options.threads))
    console.print(
        f"Training: {options.games} games a step, half of them rewritten, bipolicy and shared LoRA of "
        f"rank 16, median of {options.steps} steps. 120 steps: with loading the model, checkpoint "
        f"and {options.evaluation_games} held-out games. Other work on this machine shows in the last "
        "row: less than one core for each thread."
    )
    return 0


def table(rows: Sequence[Measured], threads: int) -> Table:
    """Return the rows as a table for a terminal."""
    made = Table(title=f"Measured with {threads} thread{'s' * (threads > 1)}", title_justify="left")
    made.add_column("what")
    for heading in ("measured", "budget"):
        made.add_column(heading, justify="right")
    for row in rows:
        bound = "≥" if row.more else "≤"
        budget = "" if row.budget is None else f"{bound} {_number(row.budget)} {row.unit}"
        made.add_row(row.what, f"{_number(row.value)} {row.unit}".strip(), budget)
    return made


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
