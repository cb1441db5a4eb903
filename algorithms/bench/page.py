"""The leaderboard as a table, for a terminal and as Markdown, and as plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from algorithms.bench.leaderboard import COMPARED, THRESHOLDS
from algorithms.bench.scores import (
    ABOUT,
    ATTACK,
    CAPABILITY,
    DEFENCE,
    DIVERSITY,
    GAP,
    REFUSAL_RAW,
    REFUSAL_REWRITTEN,
    ROBUSTNESS,
)
from redteam_env.display import safe_text
from redteam_env.report.tables import judge_line

Figures = Mapping[str, Any]
TITLES: Mapping[str, str] = {
    DEFENCE: "defence",
    ROBUSTNESS: "robustness",
    REFUSAL_RAW: "over-refusal, raw",
    REFUSAL_REWRITTEN: "over-refusal, rewritten",
    CAPABILITY: "capability",
    GAP: "best-response gap (lower bound)",
    ATTACK: "attack success",
    DIVERSITY: "diversity",
}
_COST = ("extra games", "tokens", "seconds", "tokens/s", "peak GB")
_STYLE = {"svg.hashsalt": "redteam-env", "font.size": 9}


def table(figures: Figures) -> list[list[str]]:
    """Return the leaderboard's rows, the heading first."""
    heading = ["cell", *TITLES.values(), "attacker rating", "defender rating", *_COST]
    return [heading, *(_row(cell) for cell in figures["cells"])]


def _row(cell: Figures) -> list[str]:
    name = f"{cell['label']}, {cell['arrangement']}"
    if cell["reason"] is not None:
        return [name, f"cannot be run: {cell['reason']}"]
    cost = cell["cost"]
    return [
        name,
        *(_number(cell["scores"].get(x)) for x in TITLES),
        *(_number(cell["rating"].get(seat), digits=1) for seat in ("attacker", "defender")),
        f"{cost['extra_games']['mean']:,.0f}",
        f"{cost['tokens']['mean']:,.0f}",
        f"{cost['seconds']['mean']:,.0f}",
        f"{cost['tokens_per_s']:,.0f}",
        f"{cost['peak_memory_gb']['mean']:.2f}",
    ]


def _number(found: Figures | None, digits: int = 2) -> str:
    if found is None:
        return "-"
    interval = found["interval"]
    shown = "no interval" if interval is None else ", ".join(f"{x:.{digits}f}" for x in interval)
    return f"{found['value']:.{digits}f} [{shown}]"


def terminal(figures: Figures) -> RenderableType:
    """Return the leaderboard for a terminal: the main columns."""
    shown = Table(title="Leaderboard", show_lines=False)
    rows = table(figures)
    columns = [0, *(1 + k for k, name in enumerate(TITLES) if name != DIVERSITY), 9, 10, 13]
    for k in columns:
        shown.add_column(rows[0][k])
    for row in rows[1:]:
        shown.add_row(*(safe_text(row[k]) if k < len(row) else Text("") for k in columns))
    return Group(shown, Text(_below(figures)))


def _below(figures: Figures) -> str:
    runs = max((x["runs"] for c in figures["cells"] for x in c["scores"].values()), default=0)
    return (
        f"Interquartile mean over runs and tasks [95 % bootstrap over {runs} training seeds]. "
        f"{figures['games']:,} games and answers, {figures['void']} void. With few seeds the "
        "intervals are too narrow: a bootstrap cannot see what no seed has shown. Games are equal for "
        "all; tokens are not. "
        + judge_line(figures["judge"]["name"], figures["judge"]["smoke_only"]).plain
    )


def markdown(figures: Figures, command: str) -> str:
    """Return the leaderboard as a page.

    Args:
        figures: The leaderboard.
        command: What made it.
    """
    rows = table(figures)
    lines = ["# Leaderboard", "", f"Made by `{command}`.", "", _line(rows[0])]
    lines.append(_line(["---"] * len(rows[0])))
    lines += [_line(row + [""] * (len(rows[0]) - len(row))) for row in rows[1:]]
    lines += ["", _below(figures), "", "What the columns are:", ""]
    lines += [f"- **{TITLES[name]}**: {about}." for name, about in ABOUT.items()]
    lines += [
        "- **rating**: skill (Plackett-Luce; prior 25) from cross-play, one tournament a seed.",
        "- **extra games**: played on top of the budget to measure a league's pay-offs; nobody learns from them.",
        "- **tokens, seconds, peak GB**: of one training run, the mean over its seeds.",
    ]
    for name in COMPARED:
        lines += _improvement(figures["improvement"][name], TITLES[name])
    return "\n".join(lines) + "\n"


def _improvement(found: Figures, title: str) -> list[str]:
    names = list(found)
    if len(names) < 2:
        return []
    lines = [
        "",
        f"## Probability that a run of the row scores higher than one of the column: {title}",
    ]
    lines += ["", _line(["", *names]), _line(["---"] * (len(names) + 1))]
    for first in names:
        cells = [_number(found[first].get(second)) for second in names]
        lines.append(_line([first, *cells]))
    return lines


def _line(cells: Sequence[str]) -> str:
    safe = (
        safe_text(x).plain.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
        for x in cells
    )
    return f"| {' | '.join(safe)} |"


def plot(figures: Figures, folder: Path) -> None:
    """Write the plots: scores with intervals, performance profiles, safety beside usefulness.

    Args:
        figures: The leaderboard.
        folder: Where they go.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only reports draw
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the same

    style: Any = {**mpl.rcParamsDefault, **_STYLE}
    with mpl.rc_context(style):
        shown = [x for x in figures["cells"] if x["scores"]]
        _intervals(plt, shown, folder / "scores.svg")
        _profiles(plt, figures["profiles"], folder / "profiles.svg")
        _plane(plt, shown, folder / "robustness_and_refusal.svg")


def _intervals(plt: Any, cells: Sequence[Figures], file: Path) -> None:
    names = (DEFENCE, ATTACK, CAPABILITY)
    figure, axes = plt.subplots(
        1, len(names), figsize=(11, 1 + 0.35 * len(cells)), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        for k, cell in enumerate(reversed(cells)):
            if name in cell["scores"]:
                _bar(axis, cell["scores"][name], place=k)
        axis.set(title=TITLES[name], xlim=(-0.02, 1.02))
        axis.set_yticks(
            range(len(cells)), [f"{x['label']}, {x['arrangement']}" for x in reversed(cells)]
        )
    _save(plt, figure, file)


def _bar(axis: Any, found: Figures, place: int) -> None:
    low, high = found["interval"] or (found["value"], found["value"])
    axis.plot([low, high], [place, place], color="C0")
    axis.plot([found["value"]], [place], "o", color="C0")


def _profiles(plt: Any, profiles: Figures, file: Path) -> None:
    figure, axes = plt.subplots(1, len(COMPARED), figsize=(11, 4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], COMPARED, strict=True):
        for cell, shares in profiles[name].items():
            if cell != "thresholds":
                axis.plot(THRESHOLDS, shares, label=cell)
        axis.set(title=f"performance profile: {TITLES[name]}", xlabel="score above")
    axes[0][0].set(ylabel="share of runs and tasks")
    axes[0][0].legend(fontsize=6)
    _save(plt, figure, file)


def _plane(plt: Any, cells: Sequence[Figures], file: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4.5))
    for k, cell in enumerate(cells):
        scores = cell["scores"]
        if ROBUSTNESS in scores and REFUSAL_REWRITTEN in scores:
            axis.plot(
                [scores[REFUSAL_REWRITTEN]["value"]],
                [scores[ROBUSTNESS]["value"]],
                "os^D"[k // 10 % 4],
                color=f"C{k % 10}",
                label=f"{cell['label']}, {cell['arrangement']}",
            )
    axis.set(xlabel="over-refusal, rewritten", ylabel="robustness", xlim=(-0.02, 1.02))
    axis.legend(fontsize=6)
    _save(plt, figure, file)


def _save(plt: Any, figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
