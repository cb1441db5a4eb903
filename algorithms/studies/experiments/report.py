"""Reports of an experiment: stored games, figures, plots, one page; and their verification."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from algorithms.studies.differences import differences
from algorithms.studies.experiments.claims import judge_claims
from algorithms.studies.experiments.config import Experiment, Part
from algorithms.studies.experiments.figures import (
    check_verdicts,
    compute,
    plain,
    refuse_missing,
)
from algorithms.studies.experiments.page import page
from algorithms.studies.experiments.plots import plot_part
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.experiments.runner import MANIFEST
from algorithms.studies.experiments.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    Layout,
)
from algorithms.studies.games_table import read_tables, stored_table
from algorithms.studies.manifests import check_manifest
from redteam_env.game import RedteamError
from redteam_env.utils.files import read_json, write_aside, write_text

GAMES, RECORDS, FIGURES, CLAIMS, PAGE = (
    "games.parquet",
    "records.json",
    "figures.json",
    "claims.json",
    "report.md",
)
Say = Callable[[str], None]


def write_report(
    experiment: Experiment, root: Path, target: Path, *, command: str, say: Say
) -> None:
    """Write the report of every part that has been run.

    Args:
        experiment: The experiment.
        root: Its directory.
        target: Where the report goes; an older one there is replaced part by part.
        command: The command that ran it, for the page.
        say: Told what is being done.

    Raises:
        RedteamError: If no part has been run, a record is damaged, or the target holds something
            else or a report of another manifest.
    """
    _check_target(target, _json(root / MANIFEST))
    layout = Layout(root)
    done = [part for part in experiment.parts.values() if _files(layout, part)]
    if not done:
        raise RedteamError(f"{str(root)!r} has no part that was run; run one first.")
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / MANIFEST, (root / MANIFEST).read_text(encoding="utf-8"))
    every: dict[str, Any] = {}
    for part in done:
        say(f"{part.name}: reading and computing")
        folder = target / part.name
        folder.mkdir(exist_ok=True)
        _merge(_files(layout, part), folder / GAMES)
        records = _records(layout, part)
        write_text(folder / RECORDS, json.dumps(records, separators=(",", ":")))
        games = read_tables([folder / GAMES])
        refuse_missing(part, games)
        figures = plain(compute(experiment, part, games, records))
        write_text(folder / FIGURES, json.dumps(figures, indent=1))
        plot_part(figures, records, folder)
        every[part.name] = figures
    claims = judge_claims(every)
    write_text(target / CLAIMS, json.dumps(claims, indent=1))
    write_text(target / PAGE, page(experiment, every, claims, command=command))


def verify_report(target: Path, *, say: Say) -> list[str]:
    """Compute every number of a report again from its stored games.

    Every stored verdict is given again by the exact judge, every quiz answer marked again, every
    figure and every claim's verdict computed again.

    Args:
        target: A report.
        say: Told what is being done.

    Returns:
        What differs; nothing for a sound report.

    Raises:
        RedteamError: If it is no report, or a file of it is missing or cannot be read.
    """
    experiment = _experiment(target / MANIFEST)
    wrong: list[str] = []
    every: dict[str, Any] = {}
    for part in experiment.parts.values():
        folder = target / part.name
        if not folder.is_dir():
            continue
        games = read_tables([folder / GAMES])
        records, stored = _json(folder / RECORDS), _json(folder / FIGURES)
        try:
            say(f"{part.name}: judging {len(games):,} games again")
            wrong += [f"{part.name}: {x}" for x in check_verdicts(experiment, part, games)]
            say(f"{part.name}: computing its figures again")
            figures = plain(compute(experiment, part, games, records))
        except (LookupError, TypeError, ValueError, AttributeError, RedteamError) as error:
            wrong.append(f"{part.name}: its figures cannot be computed: {error!r}")
            figures = stored
        wrong += differences(stored, figures, part.name)
        every[part.name] = figures
    if not every:
        raise RedteamError(f"{str(target)!r} holds no part; name a directory that report wrote.")
    return wrong + differences(_json(target / CLAIMS), plain_list(judge_claims(every)), "claims")


def plain_list(claims: list[dict[str, Any]]) -> Any:
    """Return claims as plain JSON data."""
    return json.loads(json.dumps(claims, allow_nan=False))


def _check_target(target: Path, manifest: Mapping[str, Any]) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        raise RedteamError(
            f"{str(target)!r} holds something else than a report; give another --to."
        )
    check_manifest(target / MANIFEST, manifest, option="--to")


def _experiment(file: Path) -> Experiment:
    manifest = _json(file)
    if not isinstance(manifest, dict) or "experiment" not in manifest:
        raise RedteamError(f"{str(file)!r} is no manifest of an experiment.")
    return experiment_from(manifest["experiment"])


def _files(layout: Layout, part: Part) -> list[Path]:
    return [
        file
        for kind in (MEASURE, CROSS, RESPOND)
        for file in layout.records(part.name, kind)
        if file.suffix == ".parquet"
    ]


def _records(layout: Layout, part: Part) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind in (TRAIN, ATTACK, GRADIENTS, CHOOSE):
        for file in layout.records(part.name, kind):
            value = _json(file)
            if kind == CHOOSE:
                found[kind] = value
            else:
                found.setdefault(kind, {})[file.stem] = value
    return found


def _merge(files: list[Path], target: Path) -> None:
    """Put tables together, sorted so that they compress well."""
    table = stored_table(files).unify_dictionaries().combine_chunks()
    keys = ("kind", "suite", "split", "attacker", "attacker_seed", "step", "seed_id", "prompt")
    plain_keys = pa.table(
        {
            x: table[x].cast(pa.string()) if x not in {"attacker_seed", "step"} else table[x]
            for x in keys
        }
    )
    order = pa.compute.sort_indices(plain_keys, sort_keys=[(x, "ascending") for x in keys])
    with write_aside(target) as partial:
        pq.write_table(table.take(order), partial, compression="zstd", compression_level=19)


def _json(file: Path) -> Any:
    return read_json(file, remedy="Name a directory that 'redteam-env experiment report' wrote.")
