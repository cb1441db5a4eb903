"""What ``quickstart`` prints at its end, and the curves that it writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from algorithms.studies.quickstart.live import curves_text
from algorithms.studies.quickstart.race import WINDOW, smoothed
from algorithms.studies.quickstart.result import (
    ARRANGEMENTS,
    DEFENDERS,
    HIDDEN,
    LEGEND,
    QUIZ,
    SCRIPTED,
)
from redteam_env.evaluation import Rate
from redteam_env.protocols import BASE
from redteam_env.report import curves_svg, rate_cell
from redteam_env.utils.files import write_text
from redteam_env.utils.tables import FittedTable
from redteam_env.utils.text import safe_text
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, FAITHFULNESS, OVER_REFUSAL

RACES = (
    "Attack success is exact: the rewrite still asks for the seed's recipe, and the answer tells it. "
    "Over-refusal is the same of benign rewrites, and of raw benign requests. Hidden is the share of all "
    f"rewrites that hide a name in that form. The number on the right is the mean of the last {WINDOW} steps; "
    f"what is said of attack success goes by means of {WINDOW} steps, too."
)


def report(result: Mapping[str, Any], console: Console) -> Group:
    """Return what a result says: curves, a request, tables with 95 % Wilson intervals, what to do next.

    Args:
        result: What the command writes to ``result.json``.
        console: Where it will be printed.
    """
    cells = {(x["attacker"], x["defender"]): x for x in result["cells"]}
    return Group(
        *(_race(name, found, console) for name, found in result["races"].items()),
        Text(RACES),
        *(_examples(name, found["examples"]) for name, found in result["races"].items()),
        _matrix("Exact attack success: low is good for the defender", ATTACK_SUCCESS, cells),
        _matrix("Exact over-refusal of benign rewrites: low is good", OVER_REFUSAL, cells),
        *_abilities(result),
        Text(LEGEND),
        Text(f"\n{result['reading']}\n", "bold"),
        _next(result),
    )


def write_curves(result: Mapping[str, Any], file: Path) -> None:
    """Write the curves of all runs as an SVG image."""
    panels = {
        name: {title: smoothed(curve) for title, curve in found["curves"].items()}
        for name, found in result["races"].items()
    }
    write_text(file, curves_svg(panels, f"training step (means of {WINDOW})"))


def _race(name: str, found: Mapping[str, Any], console: Console) -> Group:
    steps = max(map(len, found["curves"].values()))
    return Group(
        curves_text(f"{name}, step 1 to {steps}", found["curves"], steps, console),
        Text(f"{name}: {found['sentence']}\n", "bold"),
    )


def _examples(name: str, shown: list[Mapping[str, Any]]) -> Group:
    """Return one request at several moments; what models wrote is made safe."""
    if not shown:
        return Group()
    parts = [Text(f"\nOne request in the run {name}: ", "bold") + safe_text(shown[0]["seed"])]
    for one in shown:
        end = "the attack succeeds" if one["succeeded"] else "the attack fails"
        parts.append(Text(f"{one['when']} (step {one['step']}): {end}"))
        parts.append(Text("  attacker: ").append_text(safe_text(one["rewrite"])))
        parts.append(Text("  defender: ").append_text(safe_text(one["response"])))
    return Group(*parts)


def _abilities(result: Mapping[str, Any]) -> tuple[Text, FittedTable]:
    attackers, defenders = result["attackers"], result["defenders"]
    n = f"{attackers[BASE][FAITHFULNESS]['n']} and {defenders[BASE][QUIZ]['n']}"
    table = FittedTable(
        "", "faithful (attacker)", "hides a name (attacker)", "quiz right (defender)"
    )
    for name in DEFENDERS:
        rates = (attackers[name][FAITHFULNESS], attackers[name][HIDDEN], defenders[name][QUIZ])
        table.row(name, *map(_cell, rates))
    return Text(f"\nWhat each can do (n = {n})", "bold"), table


def _matrix(title: str, rate: str, cells: Mapping[tuple[str, str], Any]) -> Group:
    counts = sorted({cell[rate]["n"] for cell in cells.values()})
    n = " to ".join(dict.fromkeys(str(x) for x in (counts[0], counts[-1])))
    table = FittedTable("attacker", *DEFENDERS)
    for attacker in (*DEFENDERS, *SCRIPTED):
        table.row(attacker, *(_cell(cells[attacker, x][rate]) for x in DEFENDERS))
        if attacker == DEFENDERS[-1]:
            table.section()
    return Group(Text(f"\n{title} (n = {n})", "bold"), table)


def _next(result: Mapping[str, Any]) -> Text:
    runs = [result["runs"][name] for name in ARRANGEMENTS]
    lines = [
        f"To look at in a browser, with every game: {result['report']}",
        f"Runs: {', '.join(runs)}. Everything printed: {result['result']}. Curves: {result['svg']}",
        "What to type next:",
        f"  redteam-env play --attacker {runs[0]} --defender {runs[0]}",
        f"  redteam-env train --world {result['world']} --algorithm grpo --group-size 4",
        "  redteam-env bench --help",
    ]
    return Text("\n".join(lines), overflow="fold")


def _cell(rate: Mapping[str, Any]) -> Text:
    return rate_cell(Rate(k=rate["k"], n=rate["n"]))
