"""One registry for every kind of plug-in, fed by entry points and by :func:`register`.

A third party's distribution announces its plug-ins through entry points of the group
``redteam_env.<kind>``; ours do the same and have no other standing. Nothing is imported before it
is asked for, and a broken plug-in is reported by name while all others go on working.

:func:`load` imports a plug-in and checks what can be seen without calling it (how it is called, and what
it offers if it is a class); :func:`build` calls it; :func:`require` checks the object it made.
Tests that register plug-ins of their own do so inside :func:`isolated`.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from redteam_env.border import calls
from redteam_env.border.agents import check_agent
from redteam_env.border.functions import Answer, as_agent
from redteam_env.border.shapes import Call, config_fault, fault
from redteam_env.game import RedteamError, unknown_name
from redteam_env.game.values import shown, told
from redteam_env.protocols import Agent
from redteam_env.utils.extras import cure_of
from redteam_env.utils.owners import DISTRIBUTION, OURS, clash_of
from redteam_env.utils.places import code_hint

KINDS = (
    "agents",
    "policies",
    "judges",
    "algorithms",
    "opponents",
    "seeds",
    "suites",
    "attacks",
    "embedders",
    "callbacks",
    "loggers",
    "worlds",
    "recipes",
    "commands",
)
LOADER = "policy"
"""The plug-in of the kind ``agents`` that loads models, adapters and runs; nobody names it."""
_PLAIN = {("agents", LOADER): "playing with a model", ("policies", "lora"): "training"}
"""What plug-ins of ours that users do not name are for."""
STANDS_FOR = "stands_for"
"""The attribute of a registered factory for the code that a user wrote, if that is another's."""
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


def register(kind: str, name: str, factory: Callable[..., Any], *, replace: bool = False) -> None:
    """Add a plug-in for this process only; installed ones use entry points.

    Args:
        kind: One of :data:`KINDS`.
        name: The name to ask for; it hides a third party's installed plug-in of the same name.
        factory: What :func:`load` returns.
        replace: Whether it may take the place of a built-in plug-in.

    Raises:
        RedteamError: If the kind is unknown, the factory is not callable, or a built-in plug-in has the
            name and ``replace`` is false.
    """
    _check_kind(kind)
    if not isinstance(name, str) or not name:
        raise RedteamError(f"The name of a plug-in is {name!r}; give a text.")
    if not callable(factory):
        raise RedteamError(f"The plug-in {name!r} is {factory!r}; register a callable.")
    entry = _entries(kind).get(name)
    if entry is not None and _distribution(entry) == DISTRIBUTION and not replace:
        raise RedteamError(
            f"{name!r} is a built-in {singular(kind)}; register yours under another name, or with "
            "replace=True to have everything that asks for it get yours."
        )
    _local[kind, name] = factory


@contextmanager
def isolated() -> Iterator[None]:
    """Forget at the end of the block what was registered in it.

    For tests of plug-ins: the registry is one for the whole process, so what one test registers
    would be there for the next. Blocks may be nested.

    Examples:
        >>> with isolated():
        ...     register("agents", "mine", lambda role: None)
        >>> "mine" in names("agents")
        False
    """
    before = dict(_local)
    try:
        yield
    finally:
        _local.clear()
        _local.update(before)


def singular(kind: str) -> str:
    """Return what one plug-in of a kind is called in messages."""
    return {"policies": "policy", "seeds": "seed source"}.get(kind, kind.removesuffix("s"))


def unknown_plugin(
    kind: str, name: str, allowed: Iterable[str], *, hint: str = "", announced: bool = False
) -> RedteamError:
    """Build the error for a name that no plug-in of a kind has.

    Args:
        kind: One of :data:`KINDS`.
        name: The name that was given.
        allowed: The names that would have been right. Those with a colon are left out: code that was given
            to this process has them, and nobody else can ask for it.
        hint: A sentence on what else could have been named.
        announced: Whether to say where plug-ins announce themselves and how code is named.

    Returns:
        An error that says how code is named in any case, if the name looks like a file of it.
    """
    known = [x for x in allowed if ":" not in x]
    looks = code_hint(name)
    group = f"Plug-ins announce themselves in the entry-point group redteam_env.{kind}."
    more = (group, "" if looks else code_hint("mine.py")) if announced else ()
    hints = " ".join(filter(None, (looks, hint, *more)))
    return unknown_name(singular(kind), name, known, hint=hints, guess=not looks)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise unknown_name("kind of plug-in", kind, KINDS)


def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in _announced(kind)}


def _announced(kind: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a kind."""
    return _all_announced(tuple(sys.path))[kind]


@lru_cache(maxsize=4)
def _all_announced(_path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return those of all kinds; every distribution is looked at, so once for each search path."""
    announced = entry_points()
    return {kind: tuple(announced.select(group=f"redteam_env.{kind}")) for kind in KINDS}


def _distribution(entry: EntryPoint) -> str | None:
    """Return the name of the distribution that an entry point comes from."""
    return _release_of(entry.dist)[0] if entry.dist else None


@lru_cache(maxsize=64)
def _release_of(distribution: Distribution) -> tuple[str, str]:
    """Return name and version of a distribution; reading them takes milliseconds."""
    return distribution.name, distribution.version


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all plug-ins of a kind, sorted.

    Raises:
        RedteamError: If the kind is unknown.
    """
    _check_kind(kind)
    local = {name for k, name in _local if k == kind}
    return tuple(sorted(local | set(_entries(kind))))


def target(kind: str, name: str) -> Any:
    """Return where a plug-in is, ``module:attribute``, without importing it; one of this process itself.

    Raises:
        RedteamError: If the kind is unknown.
    """
    _check_kind(kind)
    entry = _entries(kind).get(name)
    return _local.get((kind, name), "" if entry is None else entry.value)


def found() -> list[Plugin]:
    """Return every plug-in with where it comes from, without importing any."""
    plugins = [Plugin(k, name, "registered in process", "-") for k, name in sorted(_local)]
    for kind in KINDS:
        for entry in _entries(kind).values():
            dist = " ".join(_release_of(entry.dist)) if entry.dist else "-"
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
            plug-in of that kind, or another distribution's module hides ours.
    """
    _check_kind(kind)
    if (kind, name) in _local:
        return _local[kind, name]
    entry = _entries(kind).get(name)
    rivals = {e.value for e in _announced(kind) if e.name == name}
    if len(rivals) > 1:
        raise RedteamError(
            f"Several distributions announce the {singular(kind)} {name!r}: {sorted(rivals)}. "
            "Uninstall all but one."
        )
    if entry is None:
        raise unknown_plugin(kind, name, names(kind), announced=True)
    _check_clash(entry)
    distribution = _distribution(entry)
    origin = f" of {distribution}" if distribution else ""
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        if (lacking := _lacking(kind, name, error)) is not None:
            raise lacking from error
        cure = _missing(error) or "Repair or uninstall it; everything else goes on working."
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


def _missing(error: BaseException) -> str:
    """Return how to get a library that an import lacks; nothing for other errors."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    return f"Install what provides {error.name!r}."


def _lacking(kind: str, name: str, error: BaseException) -> RedteamError | None:
    """Return the error for a plug-in of ours that lacks a package of an extra, in few words."""
    entry = None if (kind, name) in _local else _entries(kind).get(name)
    if entry is None or _distribution(entry) != DISTRIBUTION:
        return None
    cure = cure_of(error)
    what = _PLAIN.get((kind, name), f"the {singular(kind)} {name!r}")
    return None if cure is None else RedteamError(f"{what} {cure}")


def _check_clash(entry: EntryPoint) -> None:
    """Refuse another distribution's top-level ``agents`` or ``algorithms`` in place of ours."""
    top = entry.module.partition(".")[0]
    if top not in OURS or _distribution(entry) != DISTRIBUTION:
        return
    if (clash := clash_of(top)) is not None:
        raise RedteamError(clash)


def settings(kind: str, name: str) -> Any:
    """Return the class of a plug-in's own settings, a dataclass whose fields have defaults.

    Args:
        kind: ``algorithms``, ``opponents``, ``policies`` or ``callbacks``.
        name: Its name.

    Raises:
        RedteamError: If the plug-in is unknown or has no such class.
    """
    config = getattr(load(kind, name), "Config", None)
    if reason := config_fault(config):
        raise RedteamError(
            f"The {singular(kind)} {name!r} cannot be set: {reason}; see redteam_env.protocols."
        )
    return config


def build(kind: str, name: str, /, **options: Any) -> Any:
    """Load a plug-in by name and call its factory.

    Args:
        kind: Such as ``judges``.
        name: Its name.
        **options: Keyword arguments of the factory.

    Returns:
        What the factory returns.

    Raises:
        RedteamError: If the name is unknown, the import fails, or the factory refuses an option or
            raises.
    """
    return make(kind, name, load(kind, name), **options)


def make(kind: str, name: str, factory: Any, /, *arguments: Any, **options: Any) -> Any:
    """Call the factory of a plug-in.

    Args:
        kind: Such as ``judges``.
        name: Its name.
        factory: What :func:`load` returned for it.
        *arguments: Arguments of the factory by place, such as its config.
        **options: Keyword arguments of the factory.

    Returns:
        What the factory returns.

    Raises:
        RedteamError: If the factory cannot be called so, or raises.
    """
    what = f"{singular(kind)} {name!r}"
    try:
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        how = f"as {Call(('config',) * len(arguments), tuple(options))}"
        if options and not arguments:
            how = f"with the options {sorted(options)}"
        raise RedteamError(f"The {what} cannot be made {how}: {error}.") from error
    except ValueError:  # some callables of C tell nothing
        pass
    try:
        return calls.finished(factory(*arguments, **options))
    except BaseException as error:
        if calls.passes(error):
            raise
        if (lacking := _lacking(kind, name, error)) is not None:
            raise lacking from error
        cure = _missing(error) or "Repair it, or leave it out."
        raise RedteamError(f"The {what} cannot be made: {told(error)}. {cure}") from error


def resolve_agent(agent: str | Agent | Answer, role: str, **sampling: Any) -> Agent:
    """Return an agent for a role.

    Args:
        agent: The name of a registered agent, such as ``refuse``; a name with an argument, such as
            ``endpoint:MODEL@URL``; or an agent; or a function from the chat messages of a turn to a text.
        role: The role it is to play.
        **sampling: How its model is to be asked (``max_new_tokens``, ``temperature``), for a name
            with an argument; what its factory does not take is left out.

    Returns:
        The agent.

    Raises:
        RedteamError: If the name is unknown, its agent takes no argument or refuses this one, or
            the object has no ``act``.
    """
    if isinstance(agent, str):
        name, argument = split_name(agent)
        found = (
            build("agents", name, role=role)
            if argument is None
            else _with_argument(name, argument, role, sampling)
        )
    else:
        found = as_agent(agent)
    return check_agent(found, f"agent {shown(agent)}")


def name_in(kind: str, spec: str) -> str:
    """Return the name that a specification begins with: what stands before ``?``, or before ``:`` too."""
    head = spec.partition("?")[0].strip()
    return head if head in names(kind) else head.partition(":")[0]


def split_name(spec: str) -> tuple[str, str | None]:
    """Take ``NAME:ARGUMENT`` apart, if NAME is a registered agent; else there is no argument."""
    name, colon, argument = spec.partition(":")
    return (name, argument) if colon and name in names("agents") else (spec, None)


def _with_argument(name: str, argument: str, role: str, sampling: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(load("agents", name)).parameters
    if "argument" not in parameters:
        raise RedteamError(f"The agent {name!r} takes no argument; leave ':{argument}' out.")
    options = {key: value for key, value in sampling.items() if key in parameters}
    return build("agents", name, role=role, argument=argument, **options)


def require(thing: Any, method: str, what: str) -> Any:
    """Return a plug-in's object if it has the method its protocol asks for.

    Raises:
        RedteamError: If it has not.
    """
    calls.method_of(calls.Plugin(thing, what), method)
    return thing
