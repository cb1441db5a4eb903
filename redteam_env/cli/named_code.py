"""Plug-ins that a command line names by where their code is: ``mine.py:Judge`` or ``package.module:Judge``.

Modules are those that are installed, and those of the working directory that no installed one hides. Such a word
is imported and registered under itself before the command runs, so that it can stand wherever the name of a
plug-in can. Only the words of the command line are read: what a run, a card or a plan names in this form is not
imported until its user names it, too. A run records such a word as any other place: as it was given, with the
directory that it is taken from (:func:`redteam_env.trust.with_roots`).
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module, invalidate_caches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from redteam_env import registry
from redteam_env.border.functions import as_agent, as_judge, code_of
from redteam_env.border.shapes import fault
from redteam_env.choices import CODE, FORMS, KINDS_OF_OPTIONS
from redteam_env.game import RedteamError
from redteam_env.utils.places import ATTACK, MIXED

_WORDS: Mapping[str, str] = MappingProxyType(
    {"evaluate": "agents", "crossplay": "agents", "judge": "judges"}
)
"""By command, the kind of what its words without an option name."""
_SPLITS: Mapping[str, str] = MappingProxyType(
    {"evaluate": "heldout", "crossplay": "heldout", "play": "train"}
)
"""By command, the split that it plays, which all texts in a list are of; others divide them."""
_IN_PROCESSES = ("bench", "experiment")
"""Commands that work in processes of their own, which know what is installed and what a plan registers."""


def name_code(command: str, argv: Sequence[str]) -> None:
    """Register every plug-in that a command line names by its code.

    Args:
        command: The command.
        argv: Its words.

    Raises:
        RedteamError: If a file is not there, cannot be imported, or has nothing of that name.
    """
    for kind, spec in _named(command, argv):
        code = CODE.fullmatch(spec)
        if code is None or code["place"] in (*registry.names(kind), *FORMS):
            continue
        if not _is_there(code["place"]):
            continue
        if command in _IN_PROCESSES:
            raise RedteamError(
                f"{spec!r} names code, which the processes of {command} would not find; announce it as an "
                "entry point, or give a plan in Python that registers it."
            )
        found = getattr(_imported(spec, code["place"]), code["name"], None)
        if found is None:
            raise RedteamError(f"{code['place']!r} has no {code['name']!r}, which {spec!r} names.")
        factory = _seeds_factory(found, command, spec) if kind == "seeds" else _factory(kind, found)
        if reason := fault(kind, factory):
            raise RedteamError(
                f"{spec!r} is no {registry.singular(kind)}: {reason}; see redteam_env.protocols."
            )
        if factory is not found:
            setattr(factory, registry.STANDS_FOR, code_of(found))
        registry.register(kind, spec, factory)


def _named(command: str, argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each specification that may name a plug-in, without its options, with the kind."""
    option = ""
    for word in argv:
        value = word
        if word.startswith("--"):
            option, _, value = word[2:].partition("=")
        bare = not option or ".py:" in word  # or it stands behind a flag
        own = _WORDS.get(command, "") if bare else ""
        if kind := KINDS_OF_OPTIONS.get(option.replace("-", "_"), own):
            if kind == "opponents" and value.startswith(MIXED):
                kind, value = "attacks", value.removeprefix(MIXED)
            for part in value.split(","):
                yield from _within(kind, part)


def _within(kind: str, word: str) -> Iterator[tuple[str, str]]:
    """Yield what a word names: itself, or an attack and who writes for it."""
    spec = word.partition("?")[0].strip()
    if kind == "agents" and spec.startswith(ATTACK):
        kind, spec = "attacks", spec.removeprefix(ATTACK)
    if kind == "attacks":
        code = CODE.match(spec)
        method = spec.partition(":")[0]
        if code is not None and method not in registry.names(kind):
            method = code[0]
        if spec.startswith(f"{method}:"):
            yield "agents", spec.removeprefix(f"{method}:")
            spec = method
    yield kind, spec


def _is_there(place: str) -> bool:
    """Whether a module can be found; that of a file is, or its import says what is wrong."""
    if place.endswith(".py"):
        return True
    top, here = place.partition(".")[0], Path.cwd()
    files = (here / f"{top}.py", here / top / "__init__.py")
    if find_spec(top) is None and any(file.is_file() for file in files):
        sys.path.append(str(here))  # behind all that is installed
        invalidate_caches()
    return find_spec(top) is not None


def _imported(spec: str, place: str) -> ModuleType:
    try:
        return _of_file(Path(place).expanduser()) if place.endswith(".py") else import_module(place)
    except (Exception, SystemExit) as error:
        raise RedteamError(
            f"The code of {spec!r} cannot be imported: {type(error).__name__}: {error}."
        ) from error


def _of_file(file: Path) -> ModuleType:
    path = file.resolve()
    name = f"named_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "agents": "act",
        "judges": "judge",
        "seeds": "draw",
        "attacks": "attack",
        "embedders": "embed",
        "loggers": "log",
    }
)
"""By what an object is told from the function that makes one."""


def _factory(kind: str, found: Any) -> Callable[..., Any]:
    """Return what makes a plug-in: what was named, or a function that returns it if it is one already."""
    if kind in _METHODS and hasattr(found, _METHODS[kind]) and not inspect.isclass(found):
        return lambda **_: found
    if kind == "agents" and fault(kind, found):
        return _agent_factory(found)
    if kind == "judges" and inspect.isroutine(found) and not _can_be_called(found):
        return _factory(kind, as_judge(found))  # it reads dialogues
    factory: Callable[..., Any] = found
    return factory


def _agent_factory(found: Any) -> Callable[..., Any]:
    """Return what makes an agent of a class that is told no role, or of a function that answers."""
    if inspect.isclass(found) and _can_be_called(found):
        return lambda **_: found()
    factory: Callable[..., Any] = as_agent(found)
    return factory if factory is found else (lambda **_: factory)


def _seeds_factory(found: Any, command: str, spec: str) -> Callable[..., Any]:
    """Return what makes a source of seeds or texts, or of a function that returns them."""
    if hasattr(found, "draw") and not inspect.isclass(found):
        return _factory("seeds", found)
    from redteam_env.seeds import stable_split  # here, since completion imports this module
    from redteam_env.seeds.plain import is_plain, plain_source

    split = _SPLITS.get(command, stable_split)

    def make(argument: str | None = None, **options: Any) -> Any:
        if argument is not None:
            options["argument"] = argument
        made = found(**options) if callable(found) else found
        return plain_source(made, split=split, name=spec) if is_plain(made) else made

    return make if callable(found) or is_plain(found) else found


def _can_be_called(found: Any) -> bool:
    """Whether something can be called without arguments."""
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        return False
    return True
