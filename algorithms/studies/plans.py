"""A study's plan as a user writes it: a TOML file, or Python.

Python is a file ``FILE.py`` that assigns ``PLAN``, or ``MODULE:NAME``. The plan is a mapping like the
TOML file's, or a function without arguments that returns one. Plug-ins that it registers are there in
every process that does a task: each imports the plan before it begins.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from algorithms.studies.tasks import Task, Work
from redteam_env.game import RedteamError, unknown_name
from redteam_env.utils.reading import parse_toml, read_toml

ATTRIBUTE = "PLAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a user's plan says.

    Attributes:
        data: Its entries.
        source: The Python that every task's process imports; ``None`` for TOML.
    """

    data: Mapping[str, Any]
    source: str | None = None


def read_plan(named: str, *, what: str, builtin: Mapping[str, str] | None = None) -> Plan:
    """Read a plan.

    Args:
        named: A name of ``builtin``, a TOML file, a Python file, or ``MODULE:NAME``.
        what: What it is a plan of, such as ``experiment``.
        builtin: The text of TOML plans that come with the package, by name.

    Raises:
        RedteamError: If there is no such plan, or it cannot be read.
    """
    known = dict(builtin or {})
    if named in known:
        return Plan(data=parse_toml(known[named], place=named))
    file = Path(named).expanduser()
    if file.suffix == ".py" and file.is_file():
        return _python(str(file.resolve()), what)
    if file.is_file():
        try:
            return Plan(data=read_toml(file))
        except RedteamError as error:
            raise RedteamError(f"The {what} {named!r} cannot be read: {error}") from error
    if ":" in named:
        return _python(named, what)
    raise unknown_name(
        what,
        named,
        known,
        hint="Or name a TOML file, FILE.py or MODULE:NAME; there is none of that name.",
    )


def _python(source: str, what: str) -> Plan:
    module, name = _module(source)
    if not hasattr(module, name):
        raise RedteamError(f"{source!r} holds no {name}; assign the {what} to {name} in it.")
    found = getattr(module, name)
    data = found() if callable(found) else found
    if not isinstance(data, Mapping):
        raise RedteamError(
            f"{name} of {source!r} is {type(data).__name__}; give a mapping like the TOML file's."
        )
    return Plan(data=data, source=source)


def _module(source: str) -> tuple[ModuleType, str]:
    """Import the Python that a plan stands in, once in a process; return it and the plan's name."""
    place, _, name = source.rpartition(":")
    try:
        if source.endswith(".py"):
            return _file(source), ATTRIBUTE
        return importlib.import_module(place), name
    except RedteamError:
        raise
    except (Exception, SystemExit) as error:
        raise RedteamError(
            f"{source!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _file(source: str) -> ModuleType:
    alias = f"_plan_{Path(source).stem}"
    held = sys.modules.get(alias)
    if held is not None and held.__file__ == source:
        return held
    loader = SourceFileLoader(alias, source)
    made = ModuleType(alias)
    made.__file__ = source
    sys.modules[alias] = made  # dataclasses look their module up
    loader.exec_module(made)
    return made


def with_plan(source: str | None, work: Work, task: Task) -> str:
    """Do a task in a process that knows what the plan registers."""
    if source is not None:
        _module(source)
    return work(task)
