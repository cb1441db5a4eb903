"""A benchmark's results on disk, and their verification from what was stored."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.studies.bench.config import BenchConfig, Cell
from algorithms.studies.bench.ladder import register
from algorithms.studies.bench.leaderboard import leaderboard, misplaced
from algorithms.studies.bench.marl_eval import marl_eval
from algorithms.studies.bench.page import markdown
from algorithms.studies.bench.plots import plot
from algorithms.studies.bench.records import check_records
from algorithms.studies.bench.tasks import MANIFEST, SCHEMA
from algorithms.studies.games import QUIZ, Games, merge_tables, read_tables
from algorithms.studies.manifest import (
    check_digest,
    check_seeds,
    check_target,
    check_worlds,
    missing_plugins,
)
from algorithms.studies.tasks import (
    ATTACK,
    MEASURE,
    RATE,
    RESPOND,
    TRAIN,
    Task,
    outputs,
)
from algorithms.studies.verify import Labels, Say, differences, plain, wrong_verdicts
from redteam_env.border.judges import verdicts
from redteam_env.evaluation.suites import resolve_suite
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, check_values
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import QuestionSuite
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.trust import confirm_places
from redteam_env.utils.files import read_json, write_text
from redteam_env.utils.lists import listed

GAMES, RECORDS, FIGURES, PAGE, EXPORT = (
    "games.parquet",
    "records.json",
    "leaderboard.json",
    "leaderboard.md",
    "marl_eval.json",
)
_ORDER = ("kind", "suite", "attacker", "defender", "attacker_seed", "defender_seed")
"""What games are sorted by; those of one pair stay in the order of play."""


def write_report(root: Path, done: Sequence[Task], target: Path, *, command: str) -> Any:
    """Write games, records, leaderboard, page, plots, and the scores in marl-eval's format.

    Args:
        root: The benchmark's directory.
        done: Its tasks, all of them done.
        target: Where the report goes; an older one of the same manifest is replaced.
        command: The command that ran it, for the page.

    Returns:
        The leaderboard.

    Raises:
        RedteamError: If a record is damaged, or the target holds something else.
    """
    manifest = _json(root / MANIFEST)
    config, every = read_manifest(manifest, root / MANIFEST)
    check_target(target, MANIFEST, manifest, what="a benchmark's report")
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / MANIFEST, json.dumps(manifest, indent=1))
    records = {
        "/".join(filter(None, (task.part, task.kind, task.name))): _json(root / task.output)
        for task in done
        if task.kind in {TRAIN, ATTACK}
    }
    write_text(target / RECORDS, json.dumps(records, separators=(",", ":")))
    merge_tables(outputs(root, done, MEASURE, RATE, RESPOND), target / GAMES, by=_ORDER)
    figures = _figures(config, every, read_tables([target / GAMES]), records)
    write_text(target / FIGURES, json.dumps({"digest": manifest["digest"], **figures}, indent=1))
    write_text(target / PAGE, markdown(figures, command))
    write_text(target / EXPORT, json.dumps(marl_eval(figures, world=config.source_name), indent=1))
    plot(figures, target)
    return figures


def verify(file: Path, *, say: Say, used: Sequence[str] = ()) -> list[str]:
    """Compute every number of a leaderboard again from the games stored beside it.

    Every game is judged again where the judge runs here and always answers alike, every question
    marked again, and every score, rating, interval and probability computed again. The games, tokens
    and seconds of each run are summed again over its steps and compared with the budget that ended
    it; what was measured in a step, and the peak of memory, is taken as it was stored.

    Args:
        file: ``leaderboard.json``, or the directory it is in.
        say: Told what is being done.
        used: Places outside of it that its manifest names, and that may be read.

    Returns:
        What differs; nothing for a sound report.

    Raises:
        RedteamError: If it is no report, a file of it is missing, damaged or edited by hand, or its
            manifest names another place outside of it and nobody confirms that.
    """
    folder = file if file.is_dir() else file.parent
    manifest = _json(folder / MANIFEST)
    config, every = read_manifest(manifest, folder / MANIFEST, used=used)
    stored, records = _json(folder / FIGURES if file.is_dir() else file), _json(folder / RECORDS)
    exported, games = _json(folder / EXPORT), read_tables([folder / GAMES])
    if not isinstance(stored, dict) or not isinstance(records, dict):
        raise RedteamError(f"{str(folder)!r} holds no report that 'redteam-env bench' wrote.")
    wrong = [] if stored.pop("digest", None) == manifest["digest"] else ["the manifest's digest"]
    wrong += check_records(config, every, records)
    judge = resolve_judge(config.judge_name)
    again = getattr(judge, "exact", False)
    say(
        f"Judging {len(games):,} games and answers again"
        if again
        else f"Marking answers again; verdicts of {judge.name!r} are taken as they are stored"
    )
    wrong += _verdicts(config, games)
    say("Computing the leaderboard again")
    try:
        found = _figures(config, every, games, records)
    except (LookupError, TypeError, ValueError, RedteamError) as error:
        return [*wrong, f"the leaderboard cannot be computed: {error!r}"]
    wrong += differences(stored, plain(found), "leaderboard")
    export = plain(marl_eval(found, world=config.source_name))
    wrong += differences(exported, export, "marl_eval")
    return wrong or [
        f"leaderboard/cells: {x} scores more than the cell above it"
        for x in misplaced(stored["cells"])
    ]


def read_manifest(
    manifest: Any, file: Path, *, used: Sequence[str] | None = None
) -> tuple[BenchConfig, list[Cell]]:
    """Return the options and cells that a manifest holds.

    Args:
        manifest: Its content.
        file: Where it was read, for messages.
        used: Places outside of its directory that it names, and that may be read; ``None`` for all, as
            of a benchmark that the user runs himself.

    Raises:
        RedteamError: If it was edited by hand, is of another version, or of another version of its
            seeds' world, or a plug-in that it names is not here.
    """
    check_digest(manifest, file)
    if manifest.get("schema") != SCHEMA:
        raise RedteamError(
            f"{str(file)!r} has schema {manifest.get('schema')!r}; this version reads {SCHEMA}. Use the "
            "version that wrote it."
        )
    check_worlds(manifest, file)
    try:
        register(listed(manifest["options"]["algorithms"]))
        if missing := missing_plugins(manifest):
            raise RedteamError(f"{str(file)!r} cannot be read here: {'; '.join(missing)}.")
        check_values(BenchConfig, manifest["options"])
        config = BenchConfig(**manifest["options"])
        if used is not None:  # of its places, these are read
            named = [("seeds", config.source_name), ("prompts", config.prompts)]
            named += [("judge", config.judge_name), *(("suites", x) for x in config.every_suite)]
            named += [x for x in config.settings_by_name().items() if x[0] == "prompts"]
            source = f"The manifest {str(file)!r}"
            confirm_places(named, root=file.parent, source=source, used=used)
        check_seeds(manifest["seeds"], [config.source_name], file)
        every = [Cell(**cell) for cell in manifest["cells"]]
    except (KeyError, TypeError) as error:
        raise RedteamError(
            f"{str(file)!r} is of another version of redteam-env ({error}); use that one."
        ) from error
    return config, every


def _figures(
    config: BenchConfig, every: list[Cell], games: Games, records: Mapping[str, Any]
) -> dict[str, Any]:
    costs = {
        cell.name: [records[f"{TRAIN}/{cell.name}-{seed}"] for seed in range(config.seeds)]
        for cell in every
        if cell.reason is None
    }
    return leaderboard(config, every, games, costs)


def _verdicts(config: BenchConfig, games: Games) -> list[str]:
    judge = resolve_judge(config.judge_name)
    wrong: list[str] = []
    played = games.where(kind=[x for x in np.unique(games["kind"]).tolist() if x != QUIZ])

    def labels(prompt: str, response: str) -> Labels:
        lines = (Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response))
        [verdict] = verdicts(judge, [Dialogue(lines=lines)])
        return verdict.prompt_harmful, verdict.response_refusal, verdict.response_harmful

    if getattr(judge, "exact", False):
        wrong += wrong_verdicts(played, labels)
    return (wrong + _answers(config, games.where(kind=QUIZ)))[:10]


def _answers(config: BenchConfig, rows: Games) -> list[str]:
    source = resolve_seeds(config.source_name)
    wrong = []
    for (name,), own in rows.by("suite"):
        options = {"games": config.suite_games, "seed": config.measure_seed}
        known = name in config.every_suite
        suite = resolve_suite(name, source=source, **options) if known else None
        if not isinstance(suite, QuestionSuite):
            wrong.append(f"the answers of {name!r} belong to no suite of questions")
            continue
        places = {str(k): k for k in range(len(suite.requests))}
        columns = (own[x].tolist() for x in ("seed_id", "prompt", "response", "right"))
        for number, prompt, response, right in zip(*columns, strict=True):
            if (k := places.get(number)) is None:
                wrong.append(f"{name!r} has no question {number!r}")
            elif prompt != suite.requests[k].messages[-1]["content"]:
                wrong.append(f"{name!r} asks something else than {prompt!r}")
            elif suite.right(k, response) is not right:
                wrong.append(f"the answer to {prompt!r} was stored as {right}")
    return wrong


def _json(file: Path) -> Any:
    return read_json(file, remedy="Name a directory that 'redteam-env bench' wrote.")
