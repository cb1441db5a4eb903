"""What a training run cost, step by step, and whether a record of it holds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms.studies.bench.config import PANEL, PANEL_SEED, BenchConfig, Cell
from algorithms.studies.bench.tasks import fielded, plays
from algorithms.studies.tasks import ATTACK, DONE, INTERRUPTED, TRAIN
from algorithms.training.config import TrainConfig
from algorithms.training.memory import peak_gb
from algorithms.training.metrics import step_tokens
from algorithms.training.trainer import train
from redteam_env.runs import Run
from redteam_env.utils.files import write_text

COSTS = ("games", "extra_games", "tokens", "extra_tokens", "seconds", "peak_memory_gb")
BY_GAMES, BY_TOKENS = "games", "tokens"
"""Which budget ended a run."""
_TIMES = ("time/play_s", "time/update_s", "time/league_s")
_STEPS = ("tokens", "extra_games", "extra_tokens", "seconds")
"""Costs that are kept for each step; ``tokens`` and ``seconds`` hold the extra games' too."""
_DIGITS = 4


def train_recorded(config: TrainConfig, output: Path) -> str:
    """Train a run and write what it cost; the most memory that this process held is the run's.

    Args:
        config: The run.
        output: The JSON file.

    Returns:
        ``done``, or ``interrupted`` after Ctrl-C; then nothing is written.
    """
    outcome = train(config)
    if not outcome.finished:
        return INTERRUPTED
    run = Run(outcome.directory)
    rows = run.rows()[: outcome.steps]
    by_step = {name: [_cost(row, name) for row in rows] for name in _STEPS}
    record = {
        "config": {**(run.stored_config() or {}), "opponent": None},
        **totals(by_step, games=config.run.games, most=config.run.max_tokens),
        # of a run that was interrupted this process saw the end only
        "peak_memory_gb": round(peak_gb(), 3) if outcome.played == outcome.steps else None,
        "by_step": by_step,
    }
    write_text(output, json.dumps(record))
    return DONE


def _cost(row: Mapping[str, Any], name: str) -> float:
    if name == "seconds":
        return round(sum(float(row.get(x) or 0) for x in _TIMES), _DIGITS)
    found = {"extra_games": "league/games", "extra_tokens": "league/tokens"}.get(name)
    return round(step_tokens(row) if found is None else float(row.get(found) or 0))


def totals(by_step: Mapping[str, Sequence[float]], *, games: int, most: int) -> dict[str, Any]:
    """Return what follows from a run's costs step by step.

    Args:
        by_step: For each cost its values, one a step.
        games: Games a step.
        most: The budget of tokens; 0 for none.
    """
    steps = len(by_step["tokens"])
    found = {name: round(sum(by_step[name]), _DIGITS) for name in _STEPS}
    ended = BY_TOKENS if 0 < most <= found["tokens"] else BY_GAMES
    return {"steps": steps, "games": steps * games, **found, "ended_by": ended}


def check_records(
    config: BenchConfig, every: Sequence[Cell], records: Mapping[str, Any]
) -> list[str]:
    """Return what is wrong with records: runs of other options, off the budget, or with wrong sums.

    Args:
        config: The benchmark's options.
        every: All its cells.
        records: The records by ``KIND/CELL-SEED``.
    """
    wrong = []
    for name, expected in _expected(config, every):
        try:
            wrong += [f"{name} {fault}" for fault in _faults(expected, records.get(name))]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wrong.append(f"{name} is no record of a run: {error!r}")
    return wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """What a record must say.

    Attributes:
        options: Training options by name.
        most: The budget of tokens; 0 for none.
    """

    options: Mapping[str, Any]
    most: int = 0


def _expected(config: BenchConfig, every: Sequence[Cell]) -> Iterator[tuple[str, _Expected]]:
    unused = Path("unused")
    for name in config.panel_runs:
        found = config.panel(name, unused)
        yield f"{PANEL}/{TRAIN}/{name}-{PANEL_SEED}", _Expected(options=_told(found))
    for seed in range(config.seeds):
        for cell in fielded(every):
            if cell.trained:
                found = config.options(cell, seed, unused)
                named = {"algorithm": cell.algorithm, "opponents": cell.opponents}
                yield (
                    f"{TRAIN}/{cell.name}-{seed}",
                    _Expected(options={**_told(found), **named}, most=config.token_budget),
                )
            if config.response_budget and plays(config, cell, "defender"):
                response = config.response(None, seed, unused)
                yield f"{ATTACK}/{cell.name}-{seed}", _Expected(options=_told(response))


def _told(config: TrainConfig) -> dict[str, Any]:
    """Return the options of a run that its record must name."""
    flat = config.flat()
    return {name: flat[name] for name in ("arrangement", "seed", "games", "steps", "max_tokens")}


def _faults(expected: _Expected, found: Any) -> Iterator[str]:
    most, games = expected.most, expected.options["games"]
    steps = expected.options["steps"]
    for name, value in expected.options.items():
        if found["config"][name] != value:
            yield f"was run with {name} {found['config'][name]!r}, not {value!r}"
    by_step = found["by_step"]
    if len({len(by_step[name]) for name in _STEPS}) != 1:
        yield "has another number of steps for each cost"
    for name, value in totals(by_step, games=games, most=most).items():
        if found[name] != value:
            yield f"has {name} {found[name]!r}, its steps say {value!r}"
    if found["steps"] != steps and (found["steps"] > steps or found["ended_by"] != BY_TOKENS):
        yield f"has {found['games']} games in {found['steps']} steps, not {steps * games} in {steps}"
    if 0 < most <= sum(by_step["tokens"][:-1]):
        yield f"sampled {most} tokens before its last step and went on"
