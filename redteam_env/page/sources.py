"""What a report is made from: directories of any kind, read as anybody's files.

A run may still be running, or be half-written: what cannot be read is left out and told of on the page.
Only a directory that is none of ours, or of another schema, is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from redteam_env.evaluation.stored import (
    REPORT,
    UNFINISHED,
    Stored,
    is_of_suites,
    read_last_games,
    stored_games,
)
from redteam_env.evaluation.stored import SCHEMA as REPORT_SCHEMA
from redteam_env.game import Episode, RedteamError
from redteam_env.runs import (
    CONFIG,
    DIFFERS,
    EPISODES,
    LOGGERS,
    METRICS,
    PREFLIGHT,
    Run,
    read_league,
)
from redteam_env.trust import check_links
from redteam_env.utils.files import read_json, read_record
from redteam_env.utils.notices import warn

RESULT, LEADERBOARD, CLAIMS, PLAN = (
    "result.json",
    "leaderboard.json",
    "claims.json",
    "experiment.json",
)
BENCH = "bench.json"
FIGURES = "figures.json"
WINDOW = 9
"""Most steps whose games stand for a run's beginning, and for its end."""
MOST_NAMED = 5
_RESTORE = "Restore it, or name another directory."
_WHAT = (
    "name a run, what evaluate, crossplay, rejudge or quickstart wrote, or the results of a bench or an "
    "experiment."
)


class Kind(StrEnum):
    """What a directory holds."""

    RUN = "run"
    EVALUATION = "evaluation"
    SUITES = "suites"
    CROSSPLAY = "crossplay"
    REJUDGED = "rejudged"
    QUICKSTART = "quickstart"
    BENCH = "bench"
    EXPERIMENT = "experiment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Games:
    """Games that were played by the same two sides.

    Attributes:
        title: What they are called.
        attacker: Who attacked.
        defender: Who defended.
        step: The training step that they are of, from 0; ``None`` outside of training.
        episodes: The games.
    """

    title: str
    attacker: str
    defender: str
    step: int | None
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One directory.

    Attributes:
        name: What the page calls it; no two have one name.
        kind: What it holds.
        record: Its main file: ``config.json``, ``report.json``, ``leaderboard.json`` and so on.
        settings: The options behind it, flat.
        rows: Of a run, its metrics, a row a step.
        games: Its games, in order.
        departures: Of a run of a recipe, the options in which it differs from it, with the values of both
            under ``recipe`` and ``run``; ``None`` without one.
        league: Of a run with a league, the league's newest state.
        parts: Of an experiment, the figures of each part.
        notes: What could not be read, or is missing.
        partial: Of a run of which not all games were read, how many were.
    """

    name: str
    kind: Kind
    record: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    games: tuple[Games, ...] = ()
    departures: Mapping[str, Mapping[str, Any]] | None = None
    league: Mapping[str, Any] | None = None
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partial: str = ""

    @property
    def episodes(self) -> list[Episode]:
        """All games that were read."""
        return [x for group in self.games for x in group.episodes]


def read_sources(places: Sequence[Path], *, most: int) -> list[Source]:
    """Read directories.

    Args:
        places: The directories. One that holds several runs, as a quickstart's does, gives several sources;
            one that is named twice is read once.
        most: Most games that are read of all runs together: of each its first and last steps, and others at
            even distances.

    Returns:
        What they hold, each with a name of its own.

    Raises:
        RedteamError: If one is missing, none of ours, damaged at its heart, or of another schema.
    """
    named: dict[Path, Path] = {}
    for place in places:
        named.setdefault(place.expanduser().resolve(), place.expanduser())
    folders = list(named.values())
    for folder in folders:
        if not folder.is_dir():
            raise RedteamError(f"There is no directory {str(folder)!r}; {_WHAT}")
        check_links(folder)
    runs = sum(Run(folder).record() is not None for folder in folders)
    found = [x for folder in folders for x in _read(folder, most // max(1, runs))]
    names = _names([folder for folder, _ in found])
    return [replace(source, name=name) for (_, source), name in zip(found, names, strict=True)]


def _read(folder: Path, most: int) -> list[tuple[Path, Source]]:
    run = Run(folder)
    if run.record() is not None:
        return [(folder, _run(run, most))]
    if (folder / REPORT).is_file():
        return [(folder, _evaluation(folder / REPORT))]
    if (folder / LEADERBOARD).is_file():
        return [(folder, _bench(folder))]
    if (folder / PLAN).is_file() or (folder / CLAIMS).is_file():
        return [(folder, _experiment(folder))]
    if (folder / UNFINISHED).is_dir():
        raise _interrupted(folder)
    inner = [x for x in sorted(folder.iterdir()) if x.is_dir() and Run(x).record() is not None]
    runs = [(x, _run(Run(x), most // max(1, len(inner)))) for x in inner]
    if (folder / RESULT).is_file():
        return [(folder, _plain(folder, RESULT, Kind.QUICKSTART)), *runs]
    return runs or _alone(folder, most)


def _alone(folder: Path, most: int) -> list[tuple[Path, Source]]:
    """Return what stands alone, as where results are published: reports of any name, a run's metrics.

    Raises:
        RedteamError: If nothing does.
    """
    found: list[tuple[Path, Source]] = []
    own: set[str] = set()
    if (folder / METRICS).is_file():
        found.append((folder, _run(Run(folder), most)))
        own = {PREFLIGHT, LOGGERS}
    others = []
    for file in sorted(x for x in folder.glob("*.json") if x.name not in own):
        try:
            found.append((file.with_suffix(""), _evaluation(file)))
        except RedteamError:
            others.append(file.name)
    told = _not_read(others)
    if not found and is_of_suites(folder):
        raise _interrupted(folder)
    if not found:
        empty = "is empty" if not any(folder.iterdir()) else f"holds nothing to report on{told}"
        raise RedteamError(f"{str(folder)!r} {empty}; {_WHAT}")
    if told:
        warn(f"{str(folder)!r} is reported on without what else it holds{told}.")
    return found


def _interrupted(folder: Path) -> RedteamError:
    return RedteamError(
        f"{str(folder)!r} is an evaluation that was interrupted, or is running; call it again, which goes on "
        "where it was."
    )


def _not_read(names: Sequence[str]) -> str:
    """Return which files are no reports, for a message."""
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
    verb = "is no report" if len(names) == 1 else "are no reports"
    return f": {', '.join(names[:MOST_NAMED])}{more} {verb} of schema {REPORT_SCHEMA}"


def _plain(folder: Path, file: str, kind: Kind) -> Source:
    record = _object(folder / file)
    settings = record.get("settings")
    return Source(
        name="", kind=kind, record=record, settings=settings if isinstance(settings, dict) else {}
    )


def _bench(folder: Path) -> Source:
    source = _plain(folder, LEADERBOARD, Kind.BENCH)
    plan = _object(folder / BENCH) if (folder / BENCH).is_file() else {}
    options = plan.get("options")
    return replace(
        source,
        settings=options if isinstance(options, dict) else {},
        record={**{name: plan[name] for name in ("versions",) if name in plan}, **source.record},
    )


def _object(file: Path) -> dict[str, Any]:
    record = read_json(file, remedy=_RESTORE)
    if not isinstance(record, dict):
        raise RedteamError(f"{str(file)!r} holds no JSON object. {_RESTORE}")
    return record


def _experiment(folder: Path) -> Source:
    notes = (
        [] if (folder / CLAIMS).is_file() else [f"There is no {CLAIMS} yet: it is not finished."]
    )
    claims = _object(folder / CLAIMS) if not notes else {}
    figures = sorted(folder.glob(f"*/{FIGURES}"))
    plan = _object(folder / PLAN) if (folder / PLAN).is_file() else {}
    own = plan.get("experiment")
    settings = own.get("training") if isinstance(own, dict) else None
    return Source(
        name="",
        kind=Kind.EXPERIMENT,
        record=claims,
        settings=settings if isinstance(settings, dict) else {},
        parts={file.parent.name: _object(file) for file in figures},
        notes=tuple(notes),
    )


def _evaluation(file: Path) -> Source:
    """Return what a report says; one that has another name than it was written under has no games."""
    report = read_record(file, remedy=_RESTORE, schema=REPORT_SCHEMA, needed=["result"])
    notes: list[str] = []
    games: tuple[Games, ...] = ()
    try:
        stored = stored_games(file.parent) if file.name == REPORT else []
        names = [_title(x, report) for x in stored]
        games = tuple(
            Games(
                title=name if names.count(name) == 1 else f"{name} ({x.name})",
                attacker=x.seats[0],
                defender=x.seats[1],
                step=None,
                episodes=x.episodes,
            )
            for name, x in zip(names, stored, strict=True)
        )
        if not games:
            notes = ["It is a report alone: its games are not here."]
    except RedteamError:
        notes = ["It has no games, or a file of them is damaged: redteam-env rejudge tells which."]
    settings = report.get("settings")
    result = report["result"]
    cut = result.get("cut") if isinstance(result, dict) else None
    if type(cut) is int and cut > 0:
        notes.append(
            f"{cut} searches ended with what this judge does not call a success, so rates of rewritten games lie "
            "between bounds, which redteam-env rejudge prints; those here are about the attempts made."
        )
    return Source(
        name="",
        kind=_kind(report),
        record=report,
        settings=settings if isinstance(settings, dict) else {},
        games=games,
        notes=tuple(notes),
    )


def _title(stored: Stored, report: Mapping[str, Any]) -> str:
    """Return what games are called: the suite that they are of, or who played."""
    if isinstance(report["result"], list):
        return Path(stored.file).stem
    return f"{stored.seats[0]} against {stored.seats[1]}"


def _kind(report: Mapping[str, Any]) -> Kind:
    if isinstance(report["result"], list):
        return Kind.SUITES
    command = report.get("command")
    named = {"crossplay": Kind.CROSSPLAY, "rejudge": Kind.REJUDGED}
    return named.get(str(command), Kind.EVALUATION)


def _run(run: Run, most: int) -> Source:
    record = run.record()
    notes = [] if record is not None else [f"There is no {CONFIG}: what was trained is not known."]
    rows: list[dict[str, Any]] = []
    try:
        rows, left_out = run.read_rows()
        if left_out is not None:
            notes.append(f"The last line of {METRICS} is half-written and left out.")
    except RedteamError:
        notes.append(f"It has no curves: {METRICS} is damaged.")
    steps = run.episode_steps()
    said = len(notes)
    games = _games(run, _chosen(run, steps, most), notes)
    if not games:
        none = "It has no games yet." if record is not None else "Its games are not here."
        notes.append("None of its games could be read." if len(notes) > said else none)
    partial = f"Games of {len(games)} of its {len(steps)} steps are in this report."
    return Source(
        name="",
        kind=Kind.RUN,
        record=record or {},
        settings=(record or {}).get("config", {}),
        rows=rows,
        games=tuple(games),
        departures=_departures(run, notes),
        league=_league(run, notes),
        notes=tuple(notes),
        partial=partial if 0 < len(games) < len(steps) else "",
    )


def _games(run: Run, steps: Sequence[int], notes: list[str]) -> list[Games]:
    games: list[Games] = []
    damaged: list[int] = []
    for step in steps:
        try:
            episodes, left_out = read_last_games(_file(run, step))
        except RedteamError:  # which may quote what players wrote
            damaged.append(step + 1)
            continue
        if left_out is not None:
            notes.append(f"The last game of step {step + 1} is half-written and left out.")
        if episodes:
            games.append(
                Games(
                    title=f"step {step + 1}",
                    attacker="attacker",
                    defender="defender",
                    step=step,
                    episodes=tuple(episodes),
                )
            )
    if damaged:
        told = ", ".join(map(str, damaged[:MOST_NAMED])) + (
            " ..." if len(damaged) > MOST_NAMED else ""
        )
        notes.append(f"Files of games that are damaged are left out: step {told}.")
    return games


def _chosen(run: Run, steps: Sequence[int], most: int) -> list[int]:
    """Return the steps whose games are read: all, or the first, the last, and others at even distances."""
    if not steps:
        return []
    with_lines = _file(run, steps[0])
    a_step = max(1, with_lines.read_bytes().count(b"\n"))
    room = max(2, most // a_step)
    if room >= len(steps):
        return list(steps)
    edge = min(WINDOW, room // 3) or 1
    edges = {*steps[:edge], *steps[-edge:]}
    rest = [x for x in steps if x not in edges]
    places = np.linspace(0, len(rest) - 1, max(0, room - len(edges))).round().astype(int)
    return sorted(edges | {rest[k] for k in places})


def _file(run: Run, step: int) -> Path:
    return run.path / EPISODES / f"step-{step:06d}.jsonl"


def _departures(run: Run, notes: list[str]) -> dict[str, dict[str, Any]] | None:
    try:
        return run.departures()
    except RedteamError:
        notes.append(f"Whether it follows its recipe cannot be read: {DIFFERS} is damaged.")
        return None


def _league(run: Run, notes: list[str]) -> dict[str, Any] | None:
    try:
        found = run.checkpoints()
        league = read_league(found[-1].path) if found else None
    except RedteamError:
        notes.append("The state of its league cannot be read.")
        return None
    return league


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [x.resolve().parts for x in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(x[-length:]) for x in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{x.name} ({k})" for k, x in enumerate(folders, 1)]
