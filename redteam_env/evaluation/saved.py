"""Saved agents: a file beside the weights that names the plug-in which plays them.

A checkpoint's folder ``policy`` may hold ``agent.json``: ``agent`` is a registered agent, whose
factory is called with ``role``, ``directory`` (that folder) and ``temperature``; ``role`` is the
role it plays; ``others`` names who plays the other roles, as the run's opponent did. A directory
without that file belongs to the plug-in ``policy``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.utils.manifest import MANIFEST, verify_manifest

FILE = "agent.json"
FOLDER = "policy"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAgent:
    """A saved agent that was found.

    Attributes:
        agent: The registered agent that plays it.
        role: The role it plays.
        others: Who plays the other roles, by role: specifications.
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
    """Write the file that makes a folder a saved agent.

    Args:
        directory: The folder.
        agent: The registered agent that plays it.
        role: The role it plays.
        others: Who plays the other roles.
        more: Entries of the plug-in's own, plain JSON.
    """
    card = {"schema": SCHEMA, "agent": agent, "role": role, "others": dict(others), **more}
    (directory / FILE).write_text(json.dumps(card, indent=1), encoding="utf-8")


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
    if (path / "config.json").is_file() and (steps := _steps(path)):
        path = steps[max(steps)]
    if (path / FOLDER / FILE).is_file():
        path = path / FOLDER
    if not (path / FILE).is_file():
        return None
    if (path.parent / MANIFEST).is_file():
        verify_manifest(path.parent)
    return _read(path)


def _read(directory: Path) -> SavedAgent:
    file = directory / FILE
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        if card["schema"] != SCHEMA:
            raise RedteamError(
                f"{str(file)!r} has schema {card['schema']!r}; this version reads {SCHEMA}. Use "
                "the version that wrote it."
            )
        return SavedAgent(
            agent=str(card["agent"]),
            role=str(card["role"]),
            others={str(role): str(spec) for role, spec in card["others"].items()},
            directory=directory,
            card=card,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RedteamError(
            f"{str(file)!r} is damaged ({type(error).__name__}: {error}); use another checkpoint."
        ) from error


def latest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run.

    Raises:
        RedteamError: If it has none.
    """
    steps = _steps(run)
    if not steps:
        raise RedteamError(
            f"The run {str(run)!r} has no checkpoint yet; train it, or name an adapter directory."
        )
    return steps[max(steps)]


def _steps(run: Path) -> dict[int, Path]:
    """Return the checkpoints of a run by their steps."""
    return {
        int(folder.name.removeprefix("step-")): folder
        for folder in (run / "checkpoints").glob("step-*")
        if folder.name.removeprefix("step-").isdigit()
    }
