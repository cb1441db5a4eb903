"""Types, ranges and choices of settings, each stated once: in the annotation of its field.

A settings class annotates its fields and calls one function::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        epochs: Count = 1
        lr: Annotated[float, at_least(0)] = 5e-5
        clip: Annotated[float | None, above(0)] = None
        baseline: Literal["role", "batch"] = "role"

        def __post_init__(self) -> None:
            check_fields(self)

Every number must be finite. Rules that relate several fields stay code of the class. Option parsers
pass these annotations over. The module is part of the game's package because the game imports nothing
else, and so that an algorithm's file needs only the game.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from redteam_env.game.errors import RedteamError, unknown_name
from redteam_env.game.values import shown


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Range:
    """The numbers that a field may hold.

    Attributes:
        low: The lowest.
        high: The highest.
        above: Whether ``low`` itself is too low.
        below: Whether ``high`` itself is too high.
        multiple: What the number must be a multiple of; 0 for nothing.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    multiple: int = 0

    def __contains__(self, value: Any) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return bool(over and under and not (self.multiple and value % self.multiple))

    def __repr__(self) -> str:
        if self.high < math.inf:
            opening, closing = "(" if self.above else "[", ")" if self.below else "]"
            return f"in {opening}{self.low:g}, {self.high:g}{closing}"
        least = f"{'>' if self.above else '>='} {self.low:g}"
        return f"{least} and a multiple of {self.multiple}" if self.multiple else least


def at_least(low: float) -> Range:
    """Return the range of finite numbers from ``low`` up."""
    return Range(low=low)


def above(low: float) -> Range:
    """Return the range of finite numbers greater than ``low``."""
    return Range(low=low, above=True)


def between(low: float, high: float, *, below: bool = False) -> Range:
    """Return the range from ``low`` to ``high``; with ``below``, without ``high`` itself."""
    return Range(low=low, high=high, below=below)


def multiple_of(divisor: int) -> Range:
    """Return the range of positive multiples of ``divisor``."""
    return Range(low=divisor, multiple=divisor)


Count = Annotated[int, at_least(1)]
"""A whole number of things, at least one."""
Share = Annotated[float, between(0, 1)]
"""A number from 0 to 1."""


def check_fields(config: Any, where: str = "") -> None:
    """Check all fields of a dataclass by their annotations; call it in ``__post_init__``.

    Numpy's numbers are taken and become Python's, which JSON can hold.

    Args:
        config: The dataclass.
        where: What stands before a field's name in the error.

    Raises:
        RedteamError: If a value has another type, is out of range or not among the choices; the text
            names the field, the value and what to give.
    """
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.init}
    check_values(type(config), values, where)
    for name, value in values.items():
        if isinstance(value, Real) and hasattr(value, "item"):
            object.__setattr__(config, name, value.item())


def check_values(kind: Any, values: Mapping[str, Any], where: str = "") -> None:
    """Check values, such as those read from a file, by the annotations of a dataclass.

    Args:
        kind: The dataclass.
        values: Values by field; names that are no field are passed over.
        where: What stands before a field's name in the error.

    Raises:
        RedteamError: As :func:`check_fields`.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if name not in hints or _fits(value, hints[name]):
            continue
        if choices := tuple(_choices(hints[name])):
            raise unknown_name(where + name, value, choices)
        raise RedteamError(f"{where}{name} is {shown(value)}; give {_words(hints[name])}.")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    inner = get_args(hint)
    if (compare := _PARTS.get(get_origin(hint))) is not None:
        return compare(value, inner)
    if hint in (int, float):
        wanted = Integral if hint is int else Real
        whole = isinstance(value, wanted) and not isinstance(value, bool)
        return whole and -math.inf < value < math.inf
    # a protocol is not compared: whoever resolves the value says what is wrong with it
    if not isinstance(hint, type) or hint is Any or getattr(hint, "_is_protocol", False):
        return True
    return isinstance(value, hint)


def _annotated(value: Any, inner: Sequence[Any]) -> bool:
    if not _fits(value, inner[0]):
        return False
    return not isinstance(value, Real) or all(value in x for x in inner[1:] if _is_range(x))


def _tuple(value: Any, inner: Sequence[Any]) -> bool:
    if not isinstance(value, list | tuple):
        return False
    hints = [inner[0]] * len(value) if Ellipsis in inner else inner
    return len(value) == len(hints) and all(map(_fits, value, hints))


_PARTS: Mapping[Any, Callable[[Any, Sequence[Any]], bool]] = {
    Annotated: _annotated,
    Union: lambda value, inner: any(_fits(value, x) for x in inner),
    UnionType: lambda value, inner: any(_fits(value, x) for x in inner),
    Literal: lambda value, inner: any(isinstance(value, type(x)) and value == x for x in inner),
    Sequence: lambda value, inner: _tuple(value, (*inner, Ellipsis)),
    tuple: _tuple,
    Mapping: lambda value, inner: (
        isinstance(value, Mapping) and all(_fits(x, inner[1]) for x in value.values())
    ),
    Callable: lambda value, _: callable(value),
}
"""How a value is compared with a hint that has parts."""

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    Path: "a path",
    NoneType: "none",
    Mapping: "a table",
    Callable: "a function",
}


def _is_range(x: Any) -> bool:
    return isinstance(x, Range)


def _choices(hint: Any) -> Iterator[str]:
    """Yield the words of a hint that takes nothing but words or nothing."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield from map(str, inner)
    elif origin in (Union, UnionType):
        rest = [x for x in inner if x is not NoneType]
        if all(get_origin(x) is Literal for x in rest):
            yield from (word for x in rest for word in _choices(x))


def _words(hint: Any, ranges: Sequence[Any] = ()) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _words(inner[0], [x for x in inner[1:] if _is_range(x)])
    if origin in (Union, UnionType):
        return " or ".join(_words(x, ranges) for x in inner)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Sequence or (origin is tuple and Ellipsis in inner):
        return f"a list, each entry {_words(inner[0])}"
    if origin is tuple:
        return f"a list of {len(inner)}"
    word = _WORDS.get(origin or hint) or f"a {hint.__name__}"
    return " ".join([word, *map(str, ranges)]) if hint in (int, float) else word
