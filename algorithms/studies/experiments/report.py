"""Reports of an experiment: stored games, figures, two pages; and their verification."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.claims import judge_claims
from algorithms.studies.experiments.config import Experiment, Part
from algorithms.studies.experiments.figures import check_verdicts, compute
from algorithms.studies.experiments.overview import overview
from algorithms.studies.experiments.page import page
from algorithms.studies.experiments.races import race_svg, raced
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.experiments.refusing import refusing
from algorithms.studies.experiments.tasks import MANIFEST, tasks
from algorithms.studies.games import Games, merge_tables, read_tables
from algorithms.studies.manifest import check_target, check_worlds, missing_plugins
from algorithms.studies.tasks import (
    CROSS,
    JSON_KINDS,
    MEASURE,
    RESPOND,
    TRAIN,
    Task,
    outputs,
)
from algorithms.studies.verify import Say, differences, plain
from redteam_env.game import RedteamError
from redteam_env.trust import confirm_places
from redteam_env.utils.files import read_json, write_text
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary import WorldConfig, make_world

GAMES, RECORDS, FIGURES = "games.parquet", "records.json", "figures.json"
"""What a report holds of each part."""
CLAIMS, REWARDS, RACE, PAGE, TABLES = (
    "claims.json",
    "rewards.json",
    "race.svg",
    "README.md",
    "report.md",
)
"""What it holds of the whole."""
_READ = ("seeds", "model", "prompts")
_ORDER = ("kind", "suite", "split", "attacker", "attacker_seed", "step", "seed_id", "prompt")
"""What a part's games are sorted by: equal prompts, which go to many defenders, stand together."""


def write_report(
    experiment: Experiment, root: Path, target: Path, *, command: str, say: Say
) -> None:
    """Write the report of every part that has been run whole: no claim is judged on its first seeds.

    Args:
        experiment: The experiment.
        root: Its directory.
        target: Where the report goes; an older one there is replaced part by part.
        command: The command that ran it, for the pages.
        say: Told what is being done.

    Raises:
        RedteamError: If no part has been run whole, a record is damaged, or the target holds something
            else or a report of another manifest.
    """
    check_target(target, MANIFEST, _json(root / MANIFEST), what="a report")
    parts = {part: _tasks(experiment, part) for part in experiment.parts}
    there = {name: sum((root / x.output).is_file() for x in found) for name, found in parts.items()}
    whole = {name for name, found in parts.items() if there[name] == len(found)}
    for name, found in parts.items():
        if 0 < there[name] < len(found):
            told = f"{there[name]} of {len(found)} tasks are done"
            say(f"{name}: {told}; it is left out until all are")
    done = [x for x in experiment.parts.values() if {x.name, x.against or x.name} <= whole]
    if not done:
        raise RedteamError(f"{str(root)!r} has no part that was run to its end; run one first.")
    tables = {x.name: outputs(root, parts[x.name], MEASURE, CROSS, RESPOND) for x in done}
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / MANIFEST, (root / MANIFEST).read_text(encoding="utf-8"))
    for part in done:
        (target / part.name).mkdir(exist_ok=True)
        merge_tables(tables[part.name], target / part.name / GAMES, by=_ORDER)
    every: dict[str, Any] = {}
    for part in done:
        say(f"{part.name}: reading and computing")
        folder = target / part.name
        records = _records(root, parts[part.name])
        write_text(folder / RECORDS, json.dumps(records, separators=(",", ":")))
        games = read_tables([folder / GAMES])
        figures = plain(compute(experiment, part, games, records, _other(target, part)))
        write_text(folder / FIGURES, json.dumps(figures, indent=1))
        every[part.name] = figures
    claims, rewards = plain(judge_claims(experiment, every)), plain(_rewards(experiment))
    write_text(target / CLAIMS, json.dumps(claims, indent=1))
    write_text(target / REWARDS, json.dumps(rewards, indent=1))
    if (shown := raced(experiment, every)) is not None:
        runs = _json(target / shown[0] / RECORDS)[TRAIN]
        write_text(target / RACE, race_svg(runs, shown[1]))
    write_text(target / PAGE, overview(experiment, every, claims, command=command))
    every_table = page(experiment, every, claims, rewards, command=command)
    write_text(target / TABLES, every_table)


def verify_report(target: Path, *, say: Say, used: Sequence[str] = ()) -> list[str]:
    """Compute every number of a report again from its stored games.

    Every stored verdict is given again by the exact judge, every quiz answer marked again, every
    figure and every claim's verdict computed again.

    Args:
        target: A report.
        say: Told what is being done.
        used: Places outside of it that its manifest names, and that may be read.

    Returns:
        What differs; nothing for a sound report.

    Raises:
        RedteamError: If it is no report, a file of it is missing or cannot be read, or its manifest names
            another place outside of it and nobody confirms that.
    """
    manifest = _manifest(target / MANIFEST)
    source = f"The manifest {str(target / MANIFEST)!r}"
    named = [x for x in _options(manifest["experiment"]) if x[1] not in manifest.get("worlds", {})]
    confirm_places(named, root=target, source=source, used=used)
    if missing := missing_plugins(manifest):
        return missing
    experiment = _experiment(manifest)
    parts = [x for x in experiment.parts.values() if (target / x.name).is_dir()]
    if not parts:
        raise RedteamError(f"{str(target)!r} holds no part; name a directory that report wrote.")
    told = {file: _json(target / file) for file in (CLAIMS, REWARDS)}  # before minutes of judging
    kept = {x.name: [_json(target / x.name / y) for y in (RECORDS, FIGURES)] for x in parts}
    wrong: list[str] = []
    every: dict[str, Any] = {}
    for part in parts:
        games = read_tables([target / part.name / GAMES])
        records, stored = kept[part.name]
        try:
            say(f"{part.name}: judging {len(games):,} games again")
            wrong += [f"{part.name}: {x}" for x in check_verdicts(experiment, part, games)]
            say(f"{part.name}: computing its figures again")
            figures = plain(compute(experiment, part, games, records, _other(target, part)))
        except (LookupError, TypeError, ValueError, AttributeError, RedteamError) as error:
            wrong.append(f"{part.name}: its figures cannot be computed: {error!r}")
            figures = stored
        wrong += differences(stored, figures, part.name)
        every[part.name] = figures
    for file, again in ((CLAIMS, judge_claims(experiment, every)), (REWARDS, _rewards(experiment))):
        wrong += differences(told[file], plain(again), file.removesuffix(".json"))
    return wrong


def _manifest(file: Path) -> dict[str, Any]:
    manifest = _json(file)
    if not isinstance(manifest, dict) or "experiment" not in manifest:
        raise RedteamError(f"{str(file)!r} is no manifest of an experiment.")
    check_worlds(manifest, file)
    return manifest


def _options(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield the training options of a plan whose places a verification reads, wherever they stand in it."""
    for name, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _options(value)
        elif name in _READ and isinstance(value, str):
            yield name, value


def _experiment(manifest: Mapping[str, Any]) -> Experiment:
    worlds = {
        model: make_world(WorldConfig.from_json(config))
        for model, config in manifest.get("worlds", {}).items()
    }
    return replace(experiment_from(manifest["experiment"]), worlds=worlds)


def _rewards(experiment: Experiment) -> dict[str, Any]:
    """Return what refusing everything pays, in the world of the first part and with its reward table."""
    part = next(iter(experiment.parts.values()))
    game = build_game(experiment.options(part, {}, 0, Path("unused")).game)
    return refusing(experiment.world(part), game.rewards)


def _other(target: Path, part: Part) -> Games | None:
    """Return the games of the part that a part plays against, as the report holds them."""
    file = target / str(part.against) / GAMES
    return read_tables([file]) if part.against is not None and file.is_file() else None


def _tasks(experiment: Experiment, part: str) -> list[Task]:
    """Return the tasks of a part, without those of the part that it plays against."""
    return [x for x in tasks(experiment, experiment.part(part)) if x.part == part]


def _records(root: Path, every: list[Task]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for task in every:
        if task.kind in JSON_KINDS and (root / task.output).is_file():
            record = _json(root / task.output)
            config = record.get("config", {})
            opponent = Path(config.get("opponent") or "")
            if opponent.is_relative_to(root.resolve()):  # a report names no place of this machine
                config["opponent"] = opponent.relative_to(root.resolve()).as_posix()
            found.setdefault(task.kind, {})[task.name] = record
    return found


def _json(file: Path) -> Any:
    return read_json(file, remedy="Name a directory that 'redteam-env experiment report' wrote.")
