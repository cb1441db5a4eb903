"""One registry for every kind of plug-in, fed by entry points and by :func:`register`.

A third party's distribution announces its plug-ins through entry points of the group
``redteam_env.<kind>``; ours do the same and have no other standing. Nothing is imported before it
is asked for, and a broken plug-in is reported by name while all others go on working.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from redteam_env.factories import fault
from redteam_env.game import RedteamError, unknown_name

KINDS = (
    "agents",
    "policies",
    "judges",
    "algorithms",
    "opponents",
    "seeds",
    "suites",
    "generators",
    "embedders",
    "commands",
)
_OURS = ("agents", "algorithms")
_local: dict[tuple[str, str], Any] = {}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in that was found.

    Attributes:
        kind: Such as ``judges``.
        name: The name users ask for.
        target: ``module:attribute``, or ``registered in process``.
        distribution: The distribution it comes from, with version.
    """

    kind: str
    name: str
    target: str
    distribution: str


def register(kind: str, name: str, factory: Callable[..., Any]) -> None:
    """Add a plug-in for this process only; installed ones use entry points.

    Args:
        kind: One of :data:`KINDS`.
        name: The name to ask for; it hides an installed plug-in of the same name.
        factory: What :func:`load` returns.

    Raises:
        RedteamError: If the kind is unknown or the factory is not callable.
    """
    _check_kind(kind)
    if not callable(factory):
        raise RedteamError(f"The plug-in {name!r} is {factory!r}; register a callable.")
    _local[kind, name] = factory


def singular(kind: str) -> str:
    """Return what one plug-in of a kind is called in messages."""
    return {"policies": "policy", "seeds": "seed source"}.get(kind, kind.removesuffix("s"))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise unknown_name("kind of plug-in", kind, KINDS)


def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in _announced(kind, tuple(sys.path))}


@lru_cache(maxsize=64)
def _announced(kind: str, _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a kind; reading them takes long, so once for each search path."""
    return tuple(entry_points(group=f"redteam_env.{kind}"))


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all plug-ins of a kind, sorted.

    Raises:
        RedteamError: If the kind is unknown.
    """
    _check_kind(kind)
    local = {name for k, name in _local if k == kind}
    return tuple(sorted(local | set(_entries(kind))))


def found() -> list[Plugin]:
    """Return every plug-in with where it comes from, without importing any."""
    plugins = [Plugin(k, name, "registered in process", "-") for k, name in sorted(_local)]
    for kind in KINDS:
        for entry in _entries(kind).values():
            dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "-"
            plugins.append(Plugin(kind, entry.name, entry.value, dist))
    return plugins


def load(kind: str, name: str) -> Any:
    """Import and return a plug-in.

    Args:
        kind: One of :data:`KINDS`.
        name: A name from :func:`names`.

    Returns:
        What the entry point names: usually a factory.

    Raises:
        RedteamError: If there is no such plug-in, its import fails, what is imported cannot be a
            plug-in of that kind (:mod:`redteam_env.factories`), or another distribution's module
            hides ours.
    """
    _check_kind(kind)
    if (kind, name) in _local:
        return _local[kind, name]
    entry = _entries(kind).get(name)
    rivals = {e.value for e in _announced(kind, tuple(sys.path)) if e.name == name}
    if len(rivals) > 1:
        raise RedteamError(
            f"Several distributions announce the {singular(kind)} {name!r}: {sorted(rivals)}. "
            "Uninstall all but one."
        )
    if entry is None:
        raise unknown_name(
            singular(kind),
            name,
            names(kind),
            hint=f"Plug-ins announce themselves in the entry-point group redteam_env.{kind}.",
        )
    _check_clash(entry)
    origin = f" of {entry.dist.name}" if entry.dist else ""
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        cure = (
            f"Install what provides {missing!r} (for our own: pip install 'redteam-env[train]')."
            if missing
            else "Repair or uninstall it; everything else goes on working."
        )
        raise RedteamError(
            f"The plug-in {name!r} ({entry.value}{origin}) cannot be imported: "
            f"{type(error).__name__}: {error}. {cure}"
        ) from error
    if reason := fault(kind, found):
        raise RedteamError(
            f"The plug-in {name!r} ({entry.value}{origin}) is no {singular(kind)}: {reason}; see "
            "redteam_env.protocols. Repair or uninstall it; everything else goes on working."
        )
    return found


def _check_clash(entry: EntryPoint) -> None:
    """Refuse another distribution's top-level ``agents`` or ``algorithms`` in place of ours."""
    top = entry.module.partition(".")[0]
    if top not in _OURS or entry.dist is None or entry.dist.name != "redteam-env":
        return
    spec = importlib.util.find_spec(top)
    home = Path(__file__).resolve().parents[1]
    origin = Path(spec.origin).resolve() if spec and spec.origin else None
    if origin is None or origin.parents[1] != home:
        raise RedteamError(
            f"The top-level package {top!r} that Python finds is {origin or 'missing'}, not "
            f"redteam-env's. Another distribution uses the same name (openai-agents ships 'agents'): "
            "install redteam-env into an environment of its own."
        )
