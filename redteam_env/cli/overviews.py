"""What is known of a run, and which runs lie in a directory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redteam_env.evaluation.rates import measure
from redteam_env.evaluation.stored import games_of_run
from redteam_env.game import Episode, RedteamError
from redteam_env.runs import CONFIG, DEFAULTS, Run
from redteam_env.trust import check_links
from redteam_env.utils.files import read_json
from redteam_env.utils.locks import holder_of
from redteam_env.utils.places import links_out

LAST = 5
"""Steps at the end of a run whose games its rates are of, at most."""
SHOWN = (
    "recipe",
    "world",
    "model",
    "arrangement",
    "algorithm",
    "opponents",
    "seeds",
    "judge",
    "seed",
)
"""The settings that tell what a run is."""
_DEEPEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What is known of a run.

    Attributes:
        run: Its directory.
        state: ``running``, ``done``, ``stopped``, or what is wrong with it.
        readable: Whether its settings could be read.
        record: Its ``config.json``.
        steps: Steps that it has done, and that it is to do.
        games: Its last games.
        played: The steps that these are of.
        missing: The steps among its last whose games are not there.
        left_out: The places of last lines that are half-written.
    """

    run: Run
    state: str
    readable: bool
    record: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[int, int | None] = (0, None)
    games: Sequence[Episode] = ()
    played: Sequence[int] = ()
    missing: Sequence[int] = ()
    left_out: Sequence[str] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """Its settings."""
        return self.record.get("config") or {}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "run": str(self.run.path),
            "what": {name: self.config.get(name) for name in SHOWN},
            "written": self.record.get("written"),
            "step": self.steps[0],
            "steps": self.steps[1],
            "state": self.state,
            "left_out": list(self.left_out),
            "games_of": list(self.played),
            "games_missing": list(self.missing),
            "attack_success": measure(self.games).attack_success.to_json() if self.games else None,
        }


def runs_in(place: Path, deepest: int = _DEEPEST) -> Iterator[Run]:
    """Yield the runs in a directory and those below it, in order; a run holds no further one.

    Args:
        place: The directory; links are not followed.
        deepest: How far below it.
    """
    if (place / CONFIG).is_file() and not _is_model(place):
        yield Run(place)
        return
    if not deepest:
        return
    try:
        entries = sorted(os.scandir(place), key=lambda x: x.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from runs_in(Path(entry.path), deepest - 1)


def _is_model(place: Path) -> bool:
    """Whether the ``config.json`` in a directory is that of a model, such as an export's."""
    try:
        record = read_json(place / CONFIG, remedy="")
    except RedteamError:  # half-written perhaps: told of as a run that cannot be read
        return False
    return isinstance(record, dict) and (
        "model_type" in record or record.keys().isdisjoint(("schema", "config"))
    )


def overview_of(run: Run) -> Overview:
    """Return what is known of a run; what is wrong with it is its state, in a line."""
    holder = holder_of(run.path)
    state = "" if holder is None else f"running ({holder})"
    try:
        if next(links_out(run.path), None) is not None:
            return Overview(
                run=run, state="has links that lead out of it: runs show", readable=False
            )
        return _overview(run, running=bool(state))
    except (RedteamError, OSError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        return Overview(run=run, state=f"{state}: {told}" if state else told, readable=False)


def _overview(run: Run, *, running: bool) -> Overview:
    record = run.record(objects=["versions", DEFAULTS])
    if record is None:
        raise RedteamError(f"{str(run.path)!r} holds no run; name a run directory.")
    rows, cut = run.read_rows()
    done = int(rows[-1]["step"]) + 1 if rows else 0
    steps = record["config"].get("steps")
    total = steps if isinstance(steps, int) else None
    state = "running" if running else "done" if total is not None and done >= total else "stopped"
    games = games_of_run(run, last=LAST)
    kept = run.episode_steps()
    return Overview(
        run=run,
        state=state,
        readable=True,
        record=record,
        steps=(done, total),
        games=games.episodes if games else (),
        played=kept[-LAST:],
        missing=[x for x in (int(row["step"]) for row in rows[-LAST:]) if x not in kept],
        left_out=(*([cut] if cut else []), *(games.left_out if games else ())),
    )


def read_overview(place: Path) -> Overview:
    """Return what is known of a run that a user names.

    Raises:
        RedteamError: If it is no run, or cannot be read.
    """
    if not place.is_dir():
        raise RedteamError(f"There is no directory {str(place)!r}; name a run directory.")
    check_links(place)
    if (place / CONFIG).is_file() and _is_model(place):
        raise RedteamError(f"{str(place)!r} holds a model and no run; name a run directory.")
    return _overview(Run(place), running=holder_of(place) is not None)
