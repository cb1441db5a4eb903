"""What standing attacks came to and what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from redteam_env.evaluation.statistics import Interval
from redteam_env.report.tables import number_cell
from redteam_env.utils.text import safe_text

UNUSABLE = (
    "Most texts of the attacker's model could not be used: it does not keep the format, or refuses. The attack "
    "came to little more than the request itself."
)
DRIFTS = (
    "Nobody compared what the messages ask for with the requests, so a harmful answer to another request counts, "
    "too; --faithfulness judge or embedding:minilm compares them."
)


def best_line(attack: str, attempts: int) -> Text:
    """Return what the figures above are where a standing attack made the games."""
    return safe_text(
        f"Attack {attack}, the best of up to {attempts} attempts: every figure above is that of the best "
        "attempt at each request",
        "bold",
    )


def attack_lines(record: Mapping[str, Any]) -> Text:
    """Return how success grew with the attempts of an attack, and what these cost.

    Args:
        record: As :func:`redteam_env.evaluation.attacked.attack_record` returns it.
    """
    most = record["attempts"]
    shown = sorted({1, min(3, most), most})
    rates = [(k, record["success_within"][k - 1]) for k in shown]
    grown = ", ".join(f"within {k}: {_rate(rate)}" for k, rate in rates)
    lines = [
        best_line(record["attack"], most),
        Text(f"Success on harmful requests {grown} [95 % interval]"),
        Text(f"{record['made']:,} attempts took {_queries(record['queries'])}"),
    ]
    if record.get("by_labels"):  # not in reports of earlier versions
        lines.append(Text(DRIFTS, style="yellow"))
    if record["queries"]["unread"] * 2 > record["queries"]["attacker"]:
        lines.append(Text(UNUSABLE, style="bold yellow"))
    return Text("\n").join(lines)


def queries_lines(rows: Sequence[Mapping[str, Any]]) -> Text:
    """Return what standing attacks at a seat cost, a line each.

    Args:
        rows: As :meth:`redteam_env.evaluation.AgentPool.queries` returns them.
    """
    return Text("\n").join([safe_text(f"{row['agent']}: {_queries(row)}") for row in rows])


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "none"
    return number_cell(rate["rate"], Interval(*rate["interval"])).plain


def _queries(found: Mapping[str, int]) -> str:
    unread = f", {found['unread']:,} of them unusable" if found["unread"] else ""
    return (
        f"{found['target']:,} queries to the defender, {found['attacker']:,} to the attacker{unread}, "
        f"{found['judge']:,} to the judge"
    )
