"""The leaderboard: every number that a benchmark reports, computed from what it stored."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from algorithms.studies.bench.config import PRIMARY, UNTRAINED, BenchConfig, Cell
from algorithms.studies.bench.ladder import is_ladder
from algorithms.studies.bench.records import COSTS
from algorithms.studies.bench.resolution import climbed, resolution, verdicts
from algorithms.studies.bench.scores import (
    ATTACK,
    DEFENCE,
    LESS_IS_BETTER,
    Scale,
    Scores,
    met_by,
    scale,
    score,
)
from algorithms.studies.games import CROSS, RESPONSE, Games
from algorithms.studies.verify import close
from redteam_env.evaluation.aggregates import (
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from redteam_env.evaluation.ratings import Duel, Skill, ratings
from redteam_env.evaluation.statistics import wilson
from redteam_env.judges.resolve import resolve_judge
from redteam_env.randomness import generator

COMPARED = (DEFENCE, ATTACK)
"""The headline scores, of which improvement, verdicts and profiles are given; the first ranks the cells."""
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(21))
_NOTHING = dict.fromkeys(COSTS, 0)
Figures = dict[str, Any]


def leaderboard(
    config: BenchConfig, every: Sequence[Cell], games: Games, costs: Mapping[str, Sequence[Any]]
) -> Figures:
    """Return the leaderboard as plain JSON.

    Args:
        config: The options.
        every: All cells that were asked for, those that could not be run among them.
        games: All stored games.
        costs: For each cell's name the training records of its seeds, in order.

    Returns:
        ``judge``, ``budget``, ``cells`` and the untrained base in the order of their interquartile
        mean defence; ``improvement``, ``verdicts``, ``resolution`` and ``profiles`` of the compared
        scores; floor and ceiling of the ``panel``; how strong fresh attackers are (``fresh``); numbers of
        ``games`` and ``void`` ones; for the ladder, ``ladder``.
    """
    runnable = [cell for cell in every if cell.reason is None]
    judge = resolve_judge(config.judge_name)
    against = scale(config, games)
    found = score(config, runnable, games, against)
    improved = {name: improvement(config, found, name) for name in COMPARED}
    skills = _skills(config, games)
    rows = [
        {
            "label": cell.label,
            "arrangement": cell.arrangement,
            "trained": cell.trained,
            "reason": cell.reason,
            "scores": _aggregates(config, cell.name, found.get(cell.name, {})),
            "rating": _rating(config, cell.name, skills),
            "cost": _cost(costs.get(cell.name, ()) if cell.trained else [_NOTHING]),
        }
        for cell in (UNTRAINED, *every)
    ]
    rows.sort(key=rank)
    return {
        "judge": {"name": judge.name, "smoke_only": judge.smoke_only},
        "budget": {"games": config.budget, "tokens": config.token_budget},
        "cells": rows,
        "improvement": improved,
        "verdicts": {name: verdicts(found, name) for name in COMPARED},
        "resolution": {name: resolution(config, found, name) for name in COMPARED},
        "panel": _panel(against),
        "fresh": _fresh(config, games, against),
        **_ladder(config, improved, found),
        "profiles": {
            name: {
                "thresholds": list(THRESHOLDS),
                **{
                    cell: performance_profile(scores[name].values, THRESHOLDS)
                    for cell, scores in found.items()
                    if name in scores
                },
            }
            for name in COMPARED
        },
        "games": len(games),
        "void": int(sum(x is None for x in games.where(kind=_played(games))["told"].tolist())),
    }


def _panel(against: Scale) -> Figures:
    return {
        split: {
            name: {"floor": x.floor, "ceiling": x.ceiling, "tells": x.tells}
            for name, x in found.items()
        }
        for split, found in against.ranges.items()
    }


def _fresh(config: BenchConfig, games: Games, against: Scale) -> Figures | None:
    """Return what fresh attackers and the best suite reach on the base: is the budget large enough?

    An attacker of a fixed number of games cannot be shown to beat a suite that always succeeds. So it is
    said to be ``weaker`` where the interval of its success lies below the suite's.
    """
    if not config.response_budget or UNTRAINED.name not in against.ranges[PRIMARY]:
        return None
    met = [
        against.successes(met_by(games, UNTRAINED, seed).where(split=PRIMARY, kind=RESPONSE))
        for seed in range(config.seeds)
    ]
    succeeded = np.concatenate(met)
    script = against.ranges[PRIMARY][UNTRAINED.name].ceiling
    interval = wilson(int(succeeded.sum()), len(succeeded))
    return {
        "by_seed": [float(x.mean()) for x in met if len(x)],
        "interval": interval.to_json(),
        "script": script,
        "weaker": interval.high < script,
    }


def _ladder(config: BenchConfig, improved: Figures, found: Mapping[str, Any]) -> Figures:
    if not is_ladder(config):
        return {}
    return {"ladder": climbed(config, improved[DEFENCE], found, DEFENCE)}


def _played(games: Games) -> list[str]:
    return [str(x) for x in np.unique(games["kind"]) if x != "quiz"] if len(games) else []


def misplaced(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which cells of a leaderboard score more than the one above them.

    Scores that are equal but for rounding may stand in either order.

    Args:
        rows: Its ``cells``, from the top.
    """
    return [
        f"{below['label']}, {below['arrangement']}"
        for above, below in pairwise(rows)
        if below["reason"] is None
        and (above["reason"] is not None or _defence(below) > _defence(above))
        and not close(_defence(above), _defence(below))
    ]


def rank(row: Mapping[str, Any]) -> tuple[bool, float, str, str]:
    """Return what a leaderboard is sorted by: defence, then names where rounding alone tells apart.

    Args:
        row: One of its ``cells``.
    """
    return row["reason"] is not None, -round(_defence(row), 9), row["label"], row["arrangement"]


def _defence(row: Mapping[str, Any]) -> float:
    score = row["scores"].get(DEFENCE)
    return -1.0 if score is None else float(score["value"])


def _aggregates(config: BenchConfig, cell: str, scores: Mapping[str, Scores]) -> Figures:
    return {
        name: {
            **aggregate(
                x.values,
                generator((config.measure_seed, "bench", cell, name)),
            ).to_json(),
            "tasks": list(x.tasks),
            "by_seed": x.values.tolist(),
            "less_is_better": name in LESS_IS_BETTER,
        }
        for name, x in scores.items()
    }


def improvement(config: BenchConfig, found: Mapping[str, Any], name: str) -> Figures:
    """Return for each two cells how probable it is that a run of the first scores higher.

    The untrained base counts as fixed, so only the other's runs are drawn.

    Args:
        config: The options.
        found: Every score of every cell.
        name: The score.
    """
    address = (config.measure_seed, "bench", "improvement", name)
    with_it = [cell for cell, scores in found.items() if name in scores]
    values = {
        cell: np.broadcast_to(x, (config.seeds, x.shape[1]))
        for cell in with_it
        for x in [found[cell][name].values]
    }
    return {
        first: {
            second: probability_of_improvement(
                values[first],
                values[second],
                generator((*address, first, second)),
            ).to_json()
            for second in with_it
            if second != first and found[second][name].tasks == found[first][name].tasks
        }
        for first in with_it
    }


def _skills(config: BenchConfig, games: Games) -> tuple[dict[Any, Skill], dict[Any, Skill]]:
    """Rate all runs by their cross-play on harmful seeds; each training seed is one tournament."""
    cross = games.where(kind=CROSS, harmful=True, told=[True, False])
    columns = ("attacker", "attacker_seed", "defender", "defender_seed", "told", "prompt_harmful")
    duels: dict[int, list[Duel]] = {}
    for a, a_seed, d, d_seed, told, harmful in zip(
        *(cross[name].tolist() for name in columns), strict=True
    ):
        duels.setdefault(max(a_seed, d_seed), []).append(
            Duel(attacker=(a, a_seed), defender=(d, d_seed), attacker_won=bool(told and harmful))
        )
    attackers: dict[Any, Skill] = {}
    defenders: dict[Any, Skill] = {}
    for tournament, found in sorted(duels.items()):
        rng = generator((config.measure_seed, "bench", "ratings", tournament))
        rated: tuple[dict[Any, Skill], dict[Any, Skill]] = ratings(found, rng)
        attackers |= rated[0]
        defenders |= rated[1]
    return attackers, defenders


def _rating(
    config: BenchConfig, cell: str, skills: tuple[dict[Any, Skill], dict[Any, Skill]]
) -> Figures:
    found: Figures = {}
    for seat, rated in zip(("attacker", "defender"), skills, strict=True):
        own = [rated[cell, seed] for seed in range(config.seeds) if (cell, seed) in rated]
        if len(own) == config.seeds:
            rng = generator((config.measure_seed, "bench", "rating", cell, seat))
            values = [[skill.mean] for skill in own]
            found[seat] = {
                **aggregate(values, rng).to_json(),
                "by_seed": [skill.to_json() for skill in own],
            }
    return found


def _cost(records: Sequence[Mapping[str, Any]]) -> Figures:
    if not records:
        return {}
    found = {name: [record[name] for record in records] for name in COSTS}
    seconds = sum(found["seconds"])
    return {
        **{
            name: {
                "mean": None if None in values else float(np.mean(values)),
                "by_seed": values,
            }
            for name, values in found.items()
        },
        "tokens_per_s": sum(found["tokens"]) / seconds if seconds else 0.0,
        "ended_by": [record["ended_by"] for record in records if "ended_by" in record],
    }
