"""What a benchmark can tell apart: a verdict for each two cells, its resolution, and its ladder."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from algorithms.studies.bench.config import BenchConfig
from algorithms.studies.bench.ladder import RUNGS
from algorithms.studies.bench.scores import Scores
from redteam_env.evaluation.power import (
    compare_runs,
    detectable_difference,
    pooled_deviation,
    seeds_needed,
)
from redteam_env.protocols import BASE
from redteam_env.utils.lists import listed

BETTER, WORSE, ALIKE = "better", "worse", "not told apart"
Figures = dict[str, Any]
Found = Mapping[str, Mapping[str, Scores]]


def verdicts(found: Found, name: str) -> list[Figures]:
    """Compare each two trained cells by the mean of a score over a run's tasks.

    Args:
        found: Every score of every cell.
        name: The score.

    Returns:
        For each pair ``first``, ``second``, the difference with Welch's interval, ``verdict`` on the first
        and ``seeds_needed`` to find a difference of this size 8 times in 10.
    """
    runs = {cell: _runs(x[name]) for cell, x in found.items() if name in x and cell != BASE}
    return [
        {"first": first, "second": second, **_verdict(runs[first], runs[second])}
        for first, second in combinations(runs, 2)
    ]


def _verdict(a: Sequence[float], b: Sequence[float]) -> Figures:
    contrast = compare_runs(a, b)
    verdict = ALIKE
    if contrast.told_apart:
        verdict = BETTER if contrast.difference > 0 else WORSE
    return {**contrast.to_json(), "verdict": verdict}


def resolution(config: BenchConfig, found: Found, name: str) -> Figures | None:
    """Return the smallest difference of a score that this benchmark detects 8 times in 10.

    Args:
        config: The options.
        found: Every score of every cell.
        name: The score.

    Returns:
        The standard ``deviation`` of runs of one cell, pooled over the cells that learn and whose runs
        differ (those at an end of the scale, where a score is cut, would hide how runs scatter); the
        ``smallest`` difference found with so many ``seeds``; and ``seeds_for_half`` of it. ``None`` where
        nothing scatters, as with one seed.
    """
    still = {rung.name for rung in RUNGS if not rung.learns}
    groups = [
        runs
        for cell, scores in found.items()
        if name in scores and cell != BASE and cell.partition(".")[0] not in still
        if len(set(runs := _runs(scores[name]))) > 1
    ]
    if not groups:
        return None
    deviation = pooled_deviation(groups)
    smallest = detectable_difference(deviation, config.seeds)
    return {
        "deviation": deviation,
        "seeds": config.seeds,
        "smallest": smallest,
        "seeds_for_half": seeds_needed(smallest / 2, deviation),
    }


def climbed(
    config: BenchConfig, improvement: Mapping[str, Mapping[str, Figures]], found: Found, name: str
) -> Figures:
    """Return whether the ladder's rungs came out in their order.

    Args:
        config: The options of a benchmark that ranks the ladder.
        improvement: For each two cells the probability that a run of the first scores higher.
        found: Every score of every cell.
        name: The score.

    Returns:
        ``rungs`` with their mean in each arrangement; ``faults``, what is wrong: each two rungs must have
        scores, two that are two or more apart an interval of the probability of improvement above one
        half, and of neighbours none may lie below.
    """
    faults = []
    for arrangement in listed(config.arrangements):
        cells = [f"{rung.name}.{arrangement}" for rung in RUNGS]
        for (i, above), (j, below) in combinations(enumerate(cells), 2):
            interval = improvement.get(above, {}).get(below, {}).get("interval")
            if interval is None:
                faults.append(f"{above} and {below} lack scores to compare")
            elif j - i > 1 and interval[0] <= 0.5:
                faults.append(f"{above} is not told apart from {below}")
            elif interval[1] < 0.5:
                faults.append(f"{above} is worse than {below}")
    return {
        "score": name,
        "rungs": [
            {
                "label": rung.name,
                "about": rung.about,
                "means": {
                    arrangement: float(np.mean(scores[name].values))
                    for arrangement in listed(config.arrangements)
                    if name in (scores := found.get(f"{rung.name}.{arrangement}", {}))
                },
            }
            for rung in RUNGS
        ],
        "faults": faults,
    }


def _runs(scores: Scores) -> list[float]:
    """Return the mean over the tasks of each run."""
    return [float(x) for x in scores.values.mean(axis=1)]
