"""The run directory: what training writes into it, and how everything else reads it.

=====================================  ===========================================================
``config.json``                        what is needed to repeat the run
``prompts/``                           the instruction texts of the seats, one a file
``preflight.json``                     what some turns before the first step were like
``metrics.jsonl``                      one row a step
``tensorboard/``                       the same rows, unless other loggers were named
``loggers.json``                       what loggers need to go on with the same record
``episodes/step-NNNNNN.jsonl``         the games of a step, one a line
``checkpoints/step-NNNNNN/``           what is needed to go on after so many steps
``checkpoints/best/``                   that of the best evaluation, if the run was evaluated
``.../manifest.json``                  the SHA-256 of each of its files
``.../state.json``                     counters of the algorithm, and the states of callbacks
``.../optimiser.safetensors``          tensors of the algorithm
``.../policy/``                        weights; ``agent.json`` if a plug-in of its own plays them
``.../league.json``                    the state of a league, and the frozen versions it needs
``opponents/NAME@VERSION/``            frozen weights, which never change
=====================================  ===========================================================

A :class:`Run` names these places, reads and writes them. What is inside ``policy`` belongs to the
policy, and the tensors of a checkpoint to the algorithm.
"""

import json
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.game import Episode, Prompts, RedteamError, load_prompts
from redteam_env.utils.files import (
    MANIFEST,
    append_line,
    read_json,
    read_record,
    sync,
    verify_manifest,
    write_aside,
    write_manifest,
    write_text,
    written_folder,
    written_names,
)
from redteam_env.utils.reading import read_json_lines

CONFIG = "config.json"
SEEDS = "seeds.jsonl"
"""The file of seeds that a run was given in Python."""
PREFLIGHT = "preflight.json"
LOGGERS = "loggers.json"
PROMPTS = "prompts"
METRICS = "metrics.jsonl"
EPISODES = "episodes"
CHECKPOINTS = "checkpoints"
BEST = "best"
OPPONENTS = "opponents"
POLICY = "policy"
LEAGUE = "league.json"
DIFFERS = "differs_from_recipe"
"""The key of ``config.json`` for the options in which a run differs from the recipe that it names."""
DEFAULTS = "replaced_defaults"
"""The key of ``config.json`` for the defaults of the options that have another value."""
AGENT = "agent.json"
SCHEMA = 1
"""Of each of the JSON files."""
_DAMAGED = "Restore the file, or start another run."
_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of a run.

    Attributes:
        step: Training steps done.
        path: Its folder.
    """

    step: int
    path: Path

    @property
    def policy(self) -> Path:
        """The folder of the policy's weights."""
        return self.path / POLICY


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory.

    Attributes:
        path: Where it is, or will be.
    """

    path: Path

    @property
    def checkpoints_folder(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def opponents_folder(self) -> Path:
        """The folder of frozen weights, each in a folder ``NAME@VERSION``."""
        return self.path / OPPONENTS

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write ``config.json``."""
        write_text(self.path / CONFIG, json.dumps({"schema": SCHEMA, **record}, indent=1))

    def record(self, *, objects: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return all that ``config.json`` says; ``None`` if there is none.

        Args:
            objects: Entries that must be JSON objects if they are there.

        Raises:
            RedteamError: If it is damaged, no run's, or of another schema.
        """
        file = self.path / CONFIG
        if not file.is_file():
            return None
        remedy = "Restore it, or name another directory."
        record = read_record(file, remedy=remedy, schema=SCHEMA, needed=["config"])
        if not isinstance(record["config"], dict):
            raise RedteamError(f"{str(file)!r} has no options under 'config'. {remedy}")
        for name in objects:
            if not isinstance(record.get(name, {}), dict):
                raise RedteamError(f"{str(file)!r} has no object under {name!r}. {remedy}")
        return record

    def stored_config(self) -> dict[str, Any] | None:
        """Return the flat configuration of the run; ``None`` if the directory holds no run.

        Raises:
            RedteamError: As :meth:`record`.
        """
        record = self.record()
        return None if record is None else record["config"]

    def departures(self) -> dict[str, dict[str, Any]] | None:
        """Return the options in which the run differs from its recipe, each with the values of both.

        Returns:
            For each option what stands under ``recipe`` and under ``run``; nothing if the run follows its
            recipe, ``None`` if it was trained without one.

        Raises:
            RedteamError: As :meth:`record`, or if these options are damaged.
        """
        rows = (self.record() or {}).get(DIFFERS)
        if rows is None:
            return None
        if not isinstance(rows, dict) or not all(isinstance(x, dict) for x in rows.values()):
            raise RedteamError(
                f"{DIFFERS} in the {CONFIG} of {str(self.path)!r} is damaged; restore it."
            )
        return rows

    def write_preflight(self, report: Mapping[str, Any]) -> None:
        """Write ``preflight.json``."""
        write_text(self.path / PREFLIGHT, json.dumps({"schema": SCHEMA, **report}, indent=1))

    def preflight(self) -> dict[str, Any] | None:
        """Return what ``preflight.json`` says; ``None`` if the run had no preflight.

        Raises:
            RedteamError: If it is damaged or of another schema.
        """
        file = self.path / PREFLIGHT
        if not file.exists():
            return None
        return read_record(file, remedy=_DAMAGED, schema=SCHEMA, needed=["seats"])

    def write_prompts(self, prompts: Prompts) -> None:
        """Write the instruction texts, as ``--prompts`` reads them, unless they are there."""
        for name, text in prompts.texts.items():
            if not (file := self.path / PROMPTS / f"{name}.txt").exists():
                write_text(file, f"{text}\n")

    def prompts(self) -> Prompts | None:
        """Return the instruction texts; ``None`` for a run that kept none.

        Raises:
            RedteamError: If a file is missing or damaged.
        """
        folder = self.path / PROMPTS
        return load_prompts(str(folder.resolve())) if folder.is_dir() else None

    def write_logger_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Write ``loggers.json``."""
        write_text(self.path / LOGGERS, json.dumps({"schema": SCHEMA, "loggers": states}, indent=1))

    def logger_states(self) -> dict[str, dict[str, Any]]:
        """Return what each logger needs to go on, by its name; nothing if there is no ``loggers.json``.

        Raises:
            RedteamError: If it is damaged or of another schema.
        """
        file = self.path / LOGGERS
        if not file.is_file():
            return {}
        remedy = "Restore it, or remove it to begin new records."
        states = read_record(file, remedy=remedy, schema=SCHEMA, needed=["loggers"])["loggers"]
        if not isinstance(states, dict) or not all(isinstance(x, dict) for x in states.values()):
            raise RedteamError(f"{str(file)!r} has no states under 'loggers'. {remedy}")
        return states

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``; a last line that a crash cut off is left out.

        Raises:
            RedteamError: If another line is damaged.
        """
        return self.read_rows()[0]

    def read_rows(self) -> tuple[list[dict[str, Any]], str | None]:
        """Return the rows of ``metrics.jsonl``, and which last line was cut off and left out, if one was.

        Raises:
            RedteamError: If another line is damaged.
        """
        file = self.path / METRICS
        records, left_out = read_json_lines(file, remedy=_DAMAGED) if file.is_file() else ([], None)
        for place, row in records:
            try:
                operator.index(row["step"])
            except (KeyError, TypeError) as error:
                if place == records[-1][0]:
                    return [own for _, own in records[:-1]], place
                raise RedteamError(
                    f"{place} cannot be read (no row of a step: {error!r}). {_DAMAGED}"
                ) from error
        return [row for _, row in records], left_out

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the rows of ``metrics.jsonl``."""
        write_text(self.path / METRICS, "".join(f"{json.dumps(row)}\n" for row in rows))

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append a step's row, which has a key ``step`` and finite numbers, to ``metrics.jsonl``.

        It is on the disk for good, even after a power failure, once a later checkpoint is.
        """
        append_line(self.path / METRICS, json.dumps(row, allow_nan=False))

    def write_episodes(self, step: int, episodes: Sequence[Episode]) -> None:
        """Write the games of a step, one JSON object a line; if the run is gone, none is made anew.

        Raises:
            OSError: If they cannot be written.
        """
        (self.path / EPISODES).mkdir(exist_ok=True)
        text = "".join(f"{episode.to_json()}\n" for episode in episodes)
        write_text(self.path / EPISODES / f"{_name(step)}.jsonl", text)

    def read_episodes(self, step: int) -> list[Episode]:
        """Return the games of a step; none if it has no file.

        Raises:
            RedteamError: If a line is damaged.
        """
        file = self.path / EPISODES / f"{_name(step)}.jsonl"
        if not file.is_file():
            return []
        records, left_out = read_json_lines(file, remedy=_DAMAGED)
        if left_out is not None:
            raise RedteamError(f"{left_out} is cut off. {_DAMAGED}")
        return [_episode(record, place) for place, record in records]

    def episode_steps(self) -> list[int]:
        """Return the steps whose games are there, in order."""
        folder = self.path / EPISODES
        names = (x.name.removesuffix(".jsonl") for x in folder.glob("step-*.jsonl"))
        return sorted(int(x[1]) for x in map(_STEP.fullmatch, names) if x)

    def drop_episodes(self, done: int) -> None:
        """Remove the games of steps that a resumed run plays again, or will not play."""
        for file in (self.path / EPISODES).glob("step-*.jsonl"):
            match = _STEP.fullmatch(file.stem)
            if match and int(match[1]) >= done:
                file.unlink()

    def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints, the oldest first; none is verified."""
        named = map(_STEP.fullmatch, written_names(self.checkpoints_folder))
        steps = {int(x[1]) for x in named if x}
        paths = {step: self.checkpoint_path(step) for step in sorted(steps)}
        return [Checkpoint(step, path) for step, path in paths.items() if path.is_dir()]

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint after verifying it; ``None`` if there is none.

        Raises:
            RedteamError: If a file of it is missing or altered.
        """
        found = self.checkpoints()
        return self.at(found[-1].step) if found else None

    def at(self, step: int) -> Checkpoint:
        """Return the checkpoint of a step after verifying it.

        Raises:
            RedteamError: If there is none, it is another step's, or a file of it is missing or altered.
        """
        path = self.checkpoint_path(step)
        if (own := verify_manifest(path).get("step")) != step:
            raise RedteamError(f"{str(path)!r} holds the checkpoint of step {own!r}; rename it.")
        return Checkpoint(step, path)

    def best(self) -> Checkpoint | None:
        """Return the checkpoint that evaluation found best, verified; ``None`` if there is none.

        Raises:
            RedteamError: If a file of it is missing or altered.
        """
        path = self.checkpoint_path(BEST)
        if not path.is_dir():
            return None
        return Checkpoint(int(verify_manifest(path)["step"]), path)

    def checkpoint_path(self, which: int | str) -> Path:
        """Return where the checkpoint of a step lies, or one with a name of its own, such as ``best``."""
        return written_folder(self._place(which))

    def _place(self, which: int | str) -> Path:
        return self.checkpoints_folder / (which if isinstance(which, str) else _name(which))

    @contextmanager
    def new_checkpoint(self, step: int, name: str | None = None) -> Iterator[Path]:
        """Write the checkpoint of a step, whole or not at all, in the place of an older one.

        Args:
            step: Training steps done.
            name: What it is called, such as ``best``; by default by its step.

        Yields:
            An empty folder to fill; its manifest is written afterwards.
        """
        if (rows := self.path / METRICS).is_file():
            sync(rows)  # the checkpoint counts on those before it
        with write_aside(self._place(name or step)) as folder:
            folder.mkdir()
            yield folder
            write_manifest(folder, {"step": step})


def _episode(record: Any, place: str) -> Episode:
    try:
        return Episode.from_record(record)
    except RedteamError as error:
        raise RedteamError(f"{place} cannot be read. {error}") from error


def _name(step: int) -> str:
    return f"step-{step:06d}"


def find_run(place: Path) -> Run | None:
    """Return the run that a directory is, or that it lies in; ``None`` if there is none.

    Args:
        place: A run directory, a checkpoint, or a folder in one. The ``config.json`` of a model makes
            no run.

    Raises:
        RedteamError: If a ``config.json`` on the way up cannot be read.
    """
    path = place.expanduser().resolve()
    for directory in (path, *path.parents):
        file = directory / CONFIG
        if file.is_file():
            remedy = "Restore it, or name a directory outside of its folder."
            record = read_json(file, remedy=remedy)
            if isinstance(record, dict) and {"schema", "config"} <= record.keys():
                return Run(directory)
    return None


def newest(place: Path) -> Path:
    """Return the newest checkpoint of a run, or the place itself if it is no run directory.

    Raises:
        RedteamError: If it is a run without a checkpoint.
    """
    path = place.expanduser()
    if not (path / CONFIG).is_file():
        return path
    if not (checkpoints := Run(path).checkpoints()):
        run = find_run(path)
        if not (path / CHECKPOINTS).is_dir() and (run is None or run.path != path.resolve()):
            return path
        raise RedteamError(
            f"The run {str(path)!r} has no checkpoint yet; train it, or name an adapter directory."
        )
    newest = checkpoints[-1].path
    if not (newest / MANIFEST).is_file():
        verify_manifest(newest)  # says what is missing
    return newest


def write_league(checkpoint: Path, record: Mapping[str, Any]) -> None:
    """Write the state of a league into a checkpoint that is being made.

    Args:
        checkpoint: Its folder.
        record: ``opponents`` (the sampler's name), ``state`` (the sampler's) and ``versions`` (the
            SHA-256 of each file of each frozen version).
    """
    text = json.dumps({"schema": SCHEMA, **record}, indent=1)
    (checkpoint / LEAGUE).write_text(text, encoding="utf-8")


def read_league(checkpoint: Path) -> dict[str, Any] | None:
    """Return what :func:`write_league` wrote; ``None`` if the checkpoint has no league.

    Raises:
        RedteamError: If it is damaged or of another schema.
    """
    file = checkpoint / LEAGUE
    if not file.is_file():
        return None
    return read_record(file, remedy="Restore it.", schema=SCHEMA, needed=["state", "versions"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAgent:
    """Weights that a plug-in of its own plays, as ``agent.json`` beside them says.

    Attributes:
        agent: The registered agent that plays them. Its factory is called with ``role``,
            ``directory`` and ``temperature``.
        role: The role it plays.
        others: Who plays the other roles, as the run's opponent did: specifications, by role.
        directory: Where it is.
        card: The whole file, the plug-in's own entries among them.
    """

    agent: str
    role: str
    others: Mapping[str, str]
    directory: Path
    card: Mapping[str, Any]


def write_card(
    directory: Path, *, agent: str, role: str, others: Mapping[str, str], more: Mapping[str, Any]
) -> None:
    """Write the file that makes the folder of weights a saved agent.

    Args:
        directory: The folder, in a checkpoint that is being made.
        agent: The registered agent that plays it.
        role: The role it plays.
        others: Who plays the other roles.
        more: Entries of the plug-in's own, plain JSON.
    """
    card = {"schema": SCHEMA, "agent": agent, "role": role, "others": dict(others), **more}
    (directory / AGENT).write_text(json.dumps(card, indent=1), encoding="utf-8")


def find_saved(spec: str) -> SavedAgent | None:
    """Return the saved agent that a specification names, ``None`` if it names something else.

    Args:
        spec: A run directory, a checkpoint, or the folder of a saved agent.

    Returns:
        The agent; a checkpoint's files were compared with its manifest.

    Raises:
        RedteamError: If the file is damaged or of another schema.
    """
    path = Path(spec).expanduser()
    if (path / CONFIG).is_file() and (checkpoints := Run(path).checkpoints()):
        path = checkpoints[-1].path
    if (path / POLICY / AGENT).is_file():
        path = path / POLICY
    file = path / AGENT
    if not file.is_file():
        return None
    if (path.parent / MANIFEST).is_file():
        verify_manifest(path.parent)
    remedy = "Use another checkpoint."
    card = read_record(file, remedy=remedy, schema=SCHEMA, needed=["agent", "role", "others"])
    others = card["others"]
    if not isinstance(others, dict):
        raise RedteamError(f"{str(file)!r} is damaged: others is {others!r}. {remedy}")
    return SavedAgent(
        agent=str(card["agent"]),
        role=str(card["role"]),
        others={str(role): str(other) for role, other in others.items()},
        directory=path,
        card=card,
    )
