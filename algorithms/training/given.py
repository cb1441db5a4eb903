"""Plain values in the place of names: seeds in a list and a judge that is a function, as a run keeps them.

A run's ``config.json`` holds texts. Seeds that were given as values are written into the run directory, from
where it is resumed and evaluated like any other. A judge that was given has the name of its code, under which
this process knows it; another one has to be given it again.
"""

import inspect
import json
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from algorithms.training.config import TrainConfig, components
from algorithms.training.evaluating import Evaluation
from algorithms.training.presets import begun_run, meant_as_begun, resumed_options
from algorithms.training.rundir import place_of
from redteam_env.border.functions import as_judge, code_of
from redteam_env.choices import CODE
from redteam_env.faithfulness import measure_of
from redteam_env.game import Game, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge, SeedSource
from redteam_env.registry import STANDS_FOR, register
from redteam_env.runs import SEEDS, Run
from redteam_env.seeds.plain import is_plain, only_share, plain_source
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.seeds.source import SPLITS, stable_split

_INSTALLED = {"site-packages", "dist-packages"}


def with_values(options: Mapping[str, Any]) -> tuple[TrainConfig, str | None]:
    """Return the configuration that options mean, some of which may be plain values.

    Where a run is resumed, what is left out is the run's own.

    Args:
        options: Training options by name; ``seeds`` may be what a list or a mapping says
            (:func:`redteam_env.seeds.resolve_seeds`), ``judge`` a function or a judge.

    Returns:
        The configuration, and the content of the file of seeds in the run directory, if there is to be one.

    Raises:
        RedteamError: If a value or another option is wrong.
    """
    options = dict(options)
    judge, seeds = options.get("judge"), options.get("seeds")
    if judge is not None and not isinstance(judge, str):
        options["judge"] = _registered(judge)
    run = begun_run(options)
    if not is_plain(seeds):
        return _config(options, run), None
    source = plain_source(seeds, split=stable_split)
    options["seeds"] = SEEDS
    share = None if run is not None else only_share(seeds)
    if "benign_fraction" not in options and share is not None:
        options["benign_fraction"] = share
    config = _config(options, run)
    config.check_fit(source)
    kept = str(place_of(config) / SEEDS)
    if not {",", "?"}.isdisjoint(kept):
        raise RedteamError(
            f"out is {config.run.out!r}, where the seeds are to be kept, but the name of a file of seeds has no "
            "comma and no question mark; give another out, or seeds that are a file."
        )
    return replace(config, game=replace(config.game, seeds=kept)), _lines(source)


def _config(options: Mapping[str, Any], run: Run | None) -> TrainConfig:
    """Return what options mean; what is left out where a run is resumed is the run's own."""
    if run is None:
        return TrainConfig.from_flat(options)
    found = resumed_options(run, options, options)
    known = {x.name for kind in components(found).values() for x in fields(kind)}
    own = {x: y for x, y in found.items() if x in known or x in options}
    return TrainConfig.of_options({**own, **meant_as_begun(run, own)})


def source_of(config: TrainConfig) -> SeedSource:
    """Return the seeds; those that do not fit what else plays are refused here."""
    source = resolve_seeds(config.game.seeds)
    config.check_fit(source)
    return source


def evaluation_of(config: TrainConfig, source: SeedSource) -> Evaluation | None:
    """Return what evaluates the run while it trains; suites that do not fit what plays are refused here."""
    if not config.evaluation.eval_every:
        return None
    evaluation = Evaluation(config.evaluation, source, seed=config.run.seed)
    for suite, seeds in evaluation.seeds.items():
        config.check_fit(seeds, suite=suite)
    return evaluation


def judge_of(config: TrainConfig, game: Game) -> Judge:
    """Return who reads the games; one that cannot compare rewrites, if it is to, is refused here."""
    judge = resolve_judge(config.game.judge, url=config.game.judge_url)
    measure_of(game, judge)
    return judge


def _lines(source: SeedSource) -> str:
    """Return seeds as JSON lines, such as a file of seeds has."""
    rows = [
        {"text": x.text, "harmful": x.harmful, "category": x.category, "split": x.split}
        for split in SPLITS
        for x in source.seeds(split)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _registered(judge: Any) -> str:
    """Make a judge known in this process by the name of its code."""
    code = code_of(judge)
    name = _place_of(code) or f"{code.__module__}:{code.__qualname__}"

    def factory() -> Any:
        return as_judge(judge)

    if isinstance(language := getattr(code, "language", None), str):
        factory.language = language  # type: ignore[attr-defined]  # functions have any
    setattr(factory, STANDS_FOR, code)
    register("judges", name, factory)
    return name


def _place_of(code: Any) -> str | None:
    """Return how a command line names code by its file; ``None`` where that needs more or less than a file."""
    known: Any = getattr(sys.modules.get(code.__module__), code.__qualname__, None)
    if known is not code:
        return None
    try:
        file = inspect.getsourcefile(code)
    except TypeError:  # it is built in
        return None
    if file is None or not Path(file).is_file():  # it was typed
        return None
    path = Path(file).absolute()
    if path.is_relative_to(sysconfig.get_path("stdlib")) or _INSTALLED & {*path.parts}:
        return None
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    name = f"{here}:{code.__qualname__}"
    return name if CODE.fullmatch(name) and "," not in name else None
