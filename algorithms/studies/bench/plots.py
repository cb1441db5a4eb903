"""The leaderboard as plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.studies.bench.leaderboard import COMPARED, THRESHOLDS
from algorithms.studies.bench.page import TITLES, title
from algorithms.studies.bench.scores import (
    ATTACK,
    CAPABILITY,
    DEFENCE,
    REFUSAL_REWRITTEN,
    ROBUSTNESS,
)
from algorithms.studies.drawing import drawing, save
from redteam_env.protocols import BASE
from redteam_env.utils.text import escape_controls

Figures = Mapping[str, Any]
_STYLE = {"text.parse_math": False}


def plot(figures: Figures, folder: Path) -> None:
    """Write the plots: scores with intervals, performance profiles, safety beside usefulness.

    Args:
        figures: The leaderboard.
        folder: Where they go.
    """
    with drawing(_STYLE) as plt:
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
            if name not in cell["scores"]:
                continue
            if cell["trained"]:
                _bar(axis, cell["scores"][name], place=k)
            else:
                _untrained(axis, cell["scores"][name], place=k)
        axis.set(title=TITLES[name], xlim=(-0.02, 1.02))
        axis.set_yticks(range(len(cells)), [_label(title(x)) for x in reversed(cells)])
    save(plt, figure, file)


def _bar(axis: Any, found: Figures, place: int) -> None:
    low, high = found["interval"] or (found["value"], found["value"])
    axis.plot([low, high], [place, place], color="C0")
    axis.plot([found["value"]], [place], "o", color="C0")


def _untrained(axis: Any, found: Figures, place: int) -> None:
    axis.axvline(found["value"], color="C7", linestyle=":")
    axis.plot([found["value"]], [place], "o", color="C7", fillstyle="none")


def _label(text: str) -> str:
    """Return a label that is drawn as it stands: a leading underscore would hide it from legends."""
    safe = escape_controls(text).replace("\n", " ")
    return f" {safe}" if safe.startswith("_") else safe


def _profiles(plt: Any, profiles: Figures, file: Path) -> None:
    figure, axes = plt.subplots(1, len(COMPARED), figsize=(11, 4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], COMPARED, strict=True):
        for cell, shares in profiles[name].items():
            if cell != "thresholds":
                dotted = cell == BASE
                style = {"color": "C7", "linestyle": ":"} if dotted else {}
                axis.plot(THRESHOLDS, shares, label=_label(cell), **style)
        axis.set(title=f"performance profile: {TITLES[name]}", xlabel="score above")
    axes[0][0].set(ylabel="share of runs and tasks")
    axes[0][0].legend(fontsize=6)
    save(plt, figure, file)


def _plane(plt: Any, cells: Sequence[Figures], file: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4.5))
    for k, cell in enumerate(cells):
        scores = cell["scores"]
        if ROBUSTNESS in scores and REFUSAL_REWRITTEN in scores:
            axis.plot(
                [scores[REFUSAL_REWRITTEN]["value"]],
                [scores[ROBUSTNESS]["value"]],
                "os^D"[k // 10 % 4] if cell["trained"] else "x",
                color=f"C{k % 10}" if cell["trained"] else "k",
                label=_label(title(cell)),
            )
    axis.set(xlabel="over-refusal, rewritten", ylabel="robustness", xlim=(-0.02, 1.02))
    axis.legend(fontsize=6)
    save(plt, figure, file)
