"""Plots of a part, as SVG: operating points, primary measures, training curves."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.studies.drawing import drawing, save
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS

Figures = Mapping[str, Any]
_STYLE = {"axes.spines.top": False, "axes.spines.right": False}
_SPLITS = {"train": "substances used in training", "heldout": "held-out substances"}


def plot_part(figures: Figures, records: Mapping[str, Any], folder: Path) -> None:
    """Write every plot that a part's figures allow.

    Args:
        figures: The part's figures.
        records: Its records, for the training curves.
        folder: Where the plots go.
    """
    with drawing(_STYLE) as plt:
        if "defenders" in figures:
            _points(plt, figures["defenders"]["splits"], folder / "operating_points.svg")
            _primary(plt, figures["defenders"]["splits"], folder / "primary.svg")
        if "responses" in figures:
            _responses(plt, figures["responses"], folder / "best_response.svg")
        curves = {**records.get("train", {}), **records.get("attack", {})}
        if curves:
            _curves(plt, curves, folder / "training.svg")


def _points(plt: Any, splits: Figures, file: Path) -> None:
    """Draw every defender as a point with intervals on the plane of attack success and over-refusal."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, sharey=True)
    for axis, (split, title) in zip(axes, _SPLITS.items(), strict=True):
        primary = splits[split]["primary"]
        for k, arm in enumerate(primary["attack_success"]):
            x, y = primary["over_refusal_rewritten"][arm], primary["attack_success"][arm]
            axis.errorbar(
                x["mean"],
                y["mean"],
                xerr=_bars(x),
                yerr=_bars(y),
                linestyle="none",
                capsize=2,
                label=arm,
                color=f"C{k % 10}",
                marker="os^D"[k // 10 % 4],
            )
        axis.set(title=title, xlabel="over-refusal (right recipe withheld)", xlim=(-0.02, 1.02))
    axes[0].set(ylabel="attack success, scripted suites", ylim=(-0.02, 1.02))
    axes[1].legend(fontsize=7)
    save(plt, figure, file)


def _primary(plt: Any, splits: Figures, file: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, (measure, title) in zip(
        axes,
        (("auc", "AUC of the refusal score"), ("miss", "miss rate at fixed over-refusal")),
        strict=True,
    ):
        _arms(axis, {split: splits[split]["primary"][measure] for split in _SPLITS})
        axis.set(title=title)
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=7)
    save(plt, figure, file)


def _responses(plt: Any, responses: Figures, file: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4))
    _arms(axis, {split: responses[split]["best"] for split in _SPLITS})
    axis.set(xlabel="exact attack success of the best attacker found")
    axis.invert_yaxis()
    axis.legend(fontsize=7)
    save(plt, figure, file)


def _arms(axis: Any, splits: Mapping[str, Figures]) -> None:
    """Draw a value of every arm, with its interval, the splits above each other."""
    arms = list(splits["train"])
    for k, (split, name) in enumerate(_SPLITS.items()):
        found = [splits[split][arm] for arm in arms]
        places = np.arange(len(arms)) + 0.2 * (k - 0.5)
        bars = np.array([_bars(x) or [[0.0], [0.0]] for x in found])[:, :, 0].T
        axis.errorbar([x["mean"] for x in found], places, xerr=bars, fmt="o", capsize=2, label=name)
    axis.set(yticks=range(len(arms)), yticklabels=arms)


def _curves(plt: Any, records: Mapping[str, Any], file: Path) -> None:
    """Draw the attack success in training, mean over seeds, smoothed over ten steps."""
    runs: dict[str, list[Any]] = defaultdict(list)
    for name, record in records.items():
        curve = [np.nan if x is None else x for x in record["curve"][f"game/{ATTACK_SUCCESS}"]]
        runs[name.rpartition("-")[0]].append(curve)
    figure, axis = plt.subplots(figsize=(8, 4))
    for arm, found in runs.items():
        shortest = min(len(x) for x in found)
        values = np.ma.masked_invalid([x[:shortest] for x in found])
        mean = values.mean(axis=0).filled(np.nan)
        window = min(10, shortest)
        smooth = np.convolve(mean, np.ones(window) / window, mode="valid")
        axis.plot(np.arange(window, shortest + 1), smooth, label=arm)
    axis.set(
        xlabel="training step", ylabel="attack success in training (mean of 10 steps)", ylim=(0, 1)
    )
    axis.legend(fontsize=7)
    save(plt, figure, file)


def _bars(value: Figures) -> Any:
    if value["interval"] is None:
        return None
    low, high = value["interval"]
    return [[max(0.0, value["mean"] - low)], [max(0.0, high - value["mean"])]]
