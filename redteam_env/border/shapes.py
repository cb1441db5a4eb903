"""What can be seen of a plug-in before it is called: how it is called, and what it offers if it is a class."""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One way to be called: positional arguments, then keywords, by name."""

    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"factory({', '.join([*self.positional, *(f'{x}=...' for x in self.keywords)])})"

    def fits(self, signature: inspect.Signature) -> bool:
        """Whether something with this signature can be called so."""
        try:
            signature.bind(*self.positional, **dict.fromkeys(self.keywords))
        except TypeError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is asked of a kind; of calls, and of groups of methods, one is enough.

    Without calls, users' own options are passed by name, and only what takes none by name is wrong.
    """

    calls: tuple[Call, ...]
    methods: tuple[tuple[str, ...], ...]
    config: bool = False


_OF_KIND: Mapping[str, _Shape] = {
    "agents": _Shape(
        (
            Call((), ("role",)),
            Call((), ("role", "argument")),
            Call((), ("role", "argument", "max_new_tokens", "temperature")),
            Call((), ("role", "directory", "temperature")),
            Call((), ("base", "max_new_tokens", "temperature")),
        ),
        (("act",), ("load",)),
    ),
    "policies": _Shape(
        (Call((), ("config", "seed")),), (("logprobs", "parameters", "agent"),), config=True
    ),
    "judges": _Shape((), (("judge",),)),
    "algorithms": _Shape(
        (Call(("config",), ("policy", "game", "seed")),),
        (("update", "state", "load_state"),),
        config=True,
    ),
    "opponents": _Shape(
        (Call(("config",), ("league", "seed")),),
        (("matches", "finish", "state", "load_state"),),
        config=True,
    ),
    "seeds": _Shape((), (("draw", "seeds"),)),
    "suites": _Shape((Call((), ("source", "games", "seed")),), (("attacker",), ("right",))),
    "attacks": _Shape((Call((), ("attacker", "seed")),), (("attack",),)),
    "embedders": _Shape((Call(),), (("embed",),)),
    "callbacks": _Shape((Call(("config",)), Call()), ()),
    "loggers": _Shape((), (("start", "log", "finish"),)),
    "worlds": _Shape((Call(),), ()),
    "recipes": _Shape((Call(),), ()),
    "commands": _Shape((Call(("argv",)),), ()),
}


def fault(kind: str, factory: Any) -> str | None:
    """Say what is wrong with what an entry point names.

    Args:
        kind: Such as ``judges``.
        factory: What was imported.

    Returns:
        The reason why it cannot be a plug-in of that kind; ``None`` if nothing speaks against it.
    """
    if not callable(factory):
        return f"it is {type(factory).__name__}, which cannot be called"
    shape = _OF_KIND.get(kind, _Shape((), ()))
    reason = config_fault(getattr(factory, "Config", None)) if shape.config else None
    # an algorithm with a loop of its own is asked for nothing else
    if reason or (kind == "algorithms" and callable(getattr(factory, "train", None))):
        return reason
    return _call_fault(factory, shape.calls) or _method_fault(factory, shape.methods)


def config_fault(config: Any) -> str | None:
    """Say why a class is no dataclass of settings with defaults; ``None`` if it is one."""
    if not inspect.isclass(config) or not dataclasses.is_dataclass(config):
        return "it has no dataclass Config"
    for field in dataclasses.fields(config):
        if field.init and field.default is field.default_factory is dataclasses.MISSING:
            return f"its Config has no default for {field.name}"
    return None


def _call_fault(factory: Any, calls: tuple[Call, ...]) -> str | None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some callables of C tell nothing
        return None
    if calls:
        fits = any(call.fits(signature) for call in calls)
        return None if fits else f"it cannot be called as {calls[0]}"
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            return f"its option {parameter.name} cannot be given by name"
    return None


def _method_fault(factory: Any, methods: tuple[tuple[str, ...], ...]) -> str | None:
    """Look at what a class offers; what a function returns is seen when it is called."""
    missing = [[x for x in names if not hasattr(factory, x)] for names in methods]
    if not inspect.isclass(factory) or not missing or not all(missing):
        return None
    if hasattr(factory, "__getattr__"):  # its objects may answer to any name
        return None
    return f"it has no method {missing[0][0]}()"
