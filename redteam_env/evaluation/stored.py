"""The games that a run or an evaluation left behind, read as a stranger's files.

Such a directory may come from a stranger: files are read within bounds and checked value by value, names in
them are shown and never opened, and links that lead out of it are followed only if the user says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.border.records import stored_episode
from redteam_env.game import Episode, RedteamError
from redteam_env.game.values import Unfit
from redteam_env.runs import EPISODES, Run
from redteam_env.trust import check_links
from redteam_env.utils.files import read_record
from redteam_env.utils.reading import read_json_lines

REPORT = "report.json"
PLAN, GAMES = "plan.json", EPISODES
"""What makes an evaluation of suites, and the folder of its games, a file for each suite."""
UNFINISHED = "unfinished"
"""The folder of games that an evaluation has played before all of them are."""
SCHEMA = 1
REJUDGED = "rejudge"
"""The command that a report names whose games were judged again."""
_SINGLE, _ATTEMPTS = "episodes.jsonl", "attempts.jsonl"
_PAIRING = re.compile(r"attacker-(\d{1,6})-defender-(\d{1,6})")
_RESTORE = "Restore it, or name another directory."
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Games that belong into one table.

    Attributes:
        name: What they are called.
        file: Where they are, from their directory.
        seats: Who attacked and who defended, as the report there says.
        episodes: The games.
        attempts: Where a standing attack made the games, all its attempts, of which each game is the best
            at its seed, and the file with them.
        most: How many attempts it had at each seed, at most; ``None`` where the report does not tell.
        again: Whether the games were judged again before, by another judge than the attack's.
        left_out: Of a run, the places of last lines that are half-written.
    """

    name: str
    file: str
    seats: tuple[str, str]
    episodes: tuple[Episode, ...]
    attempts: tuple[str, tuple[Episode, ...]] | None = None
    most: int | None = None
    again: bool = False
    left_out: tuple[str, ...] = ()


def stored_games(place: Path, *, last: int | None = None) -> list[Stored]:
    """Return the games in a directory.

    Args:
        place: A run, whose last games may be half-written, or what ``evaluate`` or ``crossplay`` wrote with
            ``--out``.
        last: Of a run, the last so many steps that have games; by default all.

    Raises:
        RedteamError: If it is neither, holds no games, or a file is damaged.
    """
    folder = place.expanduser()
    run = Run(folder)
    if not folder.is_dir():
        raise RedteamError(
            f"There is no directory {str(place)!r}; name a run, or what evaluate or crossplay wrote "
            "with --out."
        )
    check_links(folder)
    if run.record() is not None:
        found = games_of_run(run, last=last)
        if found is None or not found.episodes:
            whole = "whole " if found else ""
            raise RedteamError(
                f"The run {str(run.path)!r} has no {whole}games under {EPISODES}; train it further, or name "
                "another one."
            )
        return [found]
    if (folder / UNFINISHED).is_dir():
        raise RedteamError(
            f"{str(place)!r} holds an evaluation that was interrupted; the command that began it goes on "
            "from there."
        )
    if not (folder / REPORT).is_file():
        raise RedteamError(
            f"{str(place)!r} is no run and holds no {REPORT}; name a run, or what evaluate or crossplay "
            "wrote with --out."
        )
    if last is not None:
        raise RedteamError(f"{str(place)!r} is no run, so it has no last steps; leave --last out.")
    return _of_evaluation(folder)


def is_of_suites(place: Path) -> bool:
    """Whether a directory holds an evaluation of suites."""
    return (place.expanduser() / PLAN).is_file()


def games_of_run(run: Run, *, last: int | None = None) -> Stored | None:
    """Return the games of a run; ``None`` if it has none yet.

    Args:
        run: The run, which may be running, or have been killed.
        last: The last so many steps that have games; by default all.

    Raises:
        RedteamError: If a line of a game is damaged and not just cut off.
    """
    steps = run.episode_steps()
    steps = steps if last is None else steps[-last:]
    found = [read_last_games(run.path / EPISODES / f"step-{step:06d}.jsonl") for step in steps]
    episodes = tuple(x for games, _ in found for x in games)
    left_out = tuple(place for _, place in found if place is not None)
    if not episodes and not left_out:
        return None
    return Stored(
        name=f"games of the steps {steps[0]} to {steps[-1]}",
        file=_SINGLE,
        seats=("attacker", "defender"),
        episodes=episodes,
        left_out=left_out,
    )


def told_of(place: str) -> str:
    """Return what is said of a half-written last line that was left out.

    Args:
        place: Where it stands, as in :attr:`Stored.left_out`.
    """
    return f"{place} is half-written and left out: the run is running, or was killed."


def _of_evaluation(folder: Path) -> list[Stored]:
    report = read_record(folder / REPORT, remedy=_RESTORE, schema=SCHEMA, needed=["result"])
    found = report["result"]
    result: Mapping[str, Any] = found if isinstance(found, dict) else {}
    files = [folder / _SINGLE, *sorted((folder / EPISODES).glob("*.jsonl"))]
    stored = [
        Stored(
            name=file.relative_to(folder).as_posix(),
            file=file.relative_to(folder).as_posix(),
            seats=_seats(result, file.relative_to(folder)),
            episodes=tuple(read_games(file)),
            attempts=_attempts(file),
            most=_most(result, file.relative_to(folder)),
            again=report.get("command") == REJUDGED,
        )
        for file in files
        if file.is_file()
    ]
    if not any(x.episodes for x in stored):
        raise RedteamError(f"{str(folder)!r} holds no games; evaluate with --out writes them.")
    return [x for x in stored if x.episodes]


def _attempts(file: Path) -> tuple[str, tuple[Episode, ...]] | None:
    every = file.parent / _ATTEMPTS
    if file.name != _SINGLE or not every.is_file():
        return None
    return _ATTEMPTS, tuple(read_games(every))


def _seats(result: Mapping[str, Any], file: Path) -> tuple[str, str]:
    """Return the names of attacker and defender that a report gives to a file of games."""
    if (table := _table(result, file)) is not None:
        found = table.get("after")
        result = found if isinstance(found, dict) else {}
    match = _PAIRING.fullmatch(file.stem)
    if match is None or "attacker" in result:
        return _name(result.get("attacker"), "attacker"), _name(result.get("defender"), "defender")
    sides = (("attackers", match[1]), ("defenders", match[2]))
    attacker, defender = (_member(result.get(side), int(place)) for side, place in sides)
    return _name(attacker, f"attacker {match[1]}"), _name(defender, f"defender {match[2]}")


def _most(result: Mapping[str, Any], file: Path) -> int | None:
    """Return how many attempts an attack had, as far as a report tells."""
    table = _table(result, file)
    found = result.get("attacked") if table is None else table
    most = found.get("attempts") if isinstance(found, dict) else None
    return most if type(most) is int and most >= 1 else None


def _table(result: Mapping[str, Any], file: Path) -> Mapping[str, Any] | None:
    """Return what the report on games that were judged again tells of a file of them."""
    if not isinstance(tables := result.get("tables"), list):
        return None
    own = (x for x in tables if isinstance(x, dict) and x.get("games") == file.as_posix())
    return next(own, {})


def _member(names: Any, place: int) -> Any:
    return names[place] if isinstance(names, list) and place < len(names) else None


def _name(value: Any, default: str) -> str:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else default


def read_games(file: Path, remedy: str = _RESTORE) -> list[Episode]:
    """Return the games of a file that was written whole, one a line.

    Args:
        file: The file.
        remedy: What to do if it cannot be read: a sentence.

    Raises:
        RedteamError: If the file cannot be read, or a line is no game.
    """
    games, left_out = read_last_games(file, remedy)
    if left_out is not None:
        raise RedteamError(f"{left_out} is cut off. {remedy}")
    return games


def read_last_games(file: Path, remedy: str = _RESTORE) -> tuple[list[Episode], str | None]:
    """Return the games of a file that may be half-written, and the place of the last line if it is cut off.

    Args:
        file: The file.
        remedy: What to do if it cannot be read: a sentence.

    Raises:
        RedteamError: If the file cannot be read, or another line is no game.
    """
    try:
        records, left_out = read_json_lines(file, remedy=remedy)
    except OSError as error:
        raise RedteamError(f"{str(file)!r} cannot be read ({error.strerror}). {remedy}") from error
    return [read_game(record, place, remedy) for place, record in records], left_out


def read_game(record: Any, place: str, remedy: str) -> Episode:
    """Return the game that a line holds.

    Args:
        record: What the line holds.
        place: Where it stands, for messages.
        remedy: What to do if it is none: a sentence.

    Raises:
        RedteamError: If it is no game.
    """
    try:
        return stored_episode(Episode.from_record(record))
    except (RedteamError, Unfit) as error:
        raise RedteamError(f"{place} is no game ({error}). {remedy}") from error
