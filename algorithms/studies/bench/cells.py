"""The cells of a benchmark, and what is refused before anything is trained."""

import dataclasses
from pathlib import Path
from typing import Any

from algorithms.studies.bench.config import (
    PANEL_RUNS,
    PRIMARY,
    RESPONSE,
    BenchConfig,
    Cell,
)
from algorithms.training.demands import check_group
from redteam_env import registry
from redteam_env.evaluation import check_spec
from redteam_env.evaluation.suites import resolve_suite
from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import RequestSuite
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.utils.lists import listed


def cells(config: BenchConfig) -> list[Cell]:
    """Return every algorithm in every arrangement, with the reason where it cannot be run.

    Args:
        config: The options.

    Raises:
        RedteamError: If a name is unknown, or nothing can be run.
    """
    arrangements = listed(config.arrangements)
    for arrangement in arrangements:
        config.weights(arrangement)
    if config.response_budget:
        try:
            config.weights(RESPONSE)
        except RedteamError as error:
            raise RedteamError(
                f"The best-response gap needs the arrangement {RESPONSE!r} ({error}); give "
                "--response-budget 0 for a policy without it."
            ) from error
    for name in config.panel_runs:
        try:
            config.weights(PANEL_RUNS[name].arrangement)
        except RedteamError as error:
            raise RedteamError(
                f"{name} of the panel cannot be trained ({error}); leave it out of --panel-attackers and "
                "--panel-defenders for this policy."
            ) from error
    found = []
    for label in listed(config.algorithms):
        algorithm, plus, opponents = label.partition("+")
        factory = registry.load("algorithms", algorithm)
        check_group(algorithm, factory, config.group_size)
        if plus and opponents not in registry.names("opponents"):
            raise unknown_name("opponent sampler", opponents, registry.names("opponents"))
        for arrangement in arrangements:
            cell = Cell(label=label, arrangement=arrangement)
            found.append(dataclasses.replace(cell, reason=_reason(config, cell, factory)))
    if not found:
        raise RedteamError("algorithms or arrangements is empty; name at least one of each.")
    if all(cell.reason for cell in found):
        raise RedteamError(f"No cell can be run: {found[0].name}: {found[0].reason}")
    return found


def _reason(config: BenchConfig, cell: Cell, factory: Any) -> str | None:
    able = getattr(factory, "arrangements", None)
    if able is not None and cell.arrangement not in able:
        return f"{cell.algorithm} trains {', '.join(able)} only"
    try:
        config.options(cell, 0, Path("unused"))
    except RedteamError as error:
        return str(error)
    return None


def check_parts(config: BenchConfig) -> None:
    """Refuse unknown suites and agents before anything is trained, and suites that give no defence score.

    Raises:
        RedteamError: If one is unknown, cannot be made, or gives no score.
    """
    source = resolve_seeds(config.source_name)
    for name in config.every_suite:
        suite = resolve_suite(
            name, source=source, games=config.suite_games, seed=config.measure_seed
        )
        if name not in listed(config.defence_suites):
            continue
        if not isinstance(suite, RequestSuite) or not suite.rewritten:
            raise RedteamError(
                f"The suite {name!r} has no rewritten requests, which the score defence is about; name "
                "it under --suites."
            )
        asked = {x.seed.harmful for x in suite.setups if x.seed.split == PRIMARY}
        if asked != {True, False}:
            raise RedteamError(
                f"The suite {name!r} lacks harmful or benign requests of the split {PRIMARY!r}, which the "
                "score defence is about; name it under --suites."
            )
    for spec in (*listed(config.panel_attackers), *listed(config.panel_defenders)):
        if spec not in PANEL_RUNS:
            check_spec(spec)
