"""Whether values that were read from a file have the types of a dataclass's fields."""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from redteam_env.game import RedteamError

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def check_types(kind: Any, values: Mapping[str, Any], where: str = "") -> None:
    """Refuse values that are not of the types of a dataclass's fields.

    A wrong type would otherwise show as a comparison that fails somewhere, or not at all.

    Args:
        kind: The dataclass.
        values: Values by field; names that are no field are passed over.
        where: What stands before a field's name in the error.

    Raises:
        RedteamError: If a value has another type; the text names the field, the value and the type.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            raise RedteamError(f"{where}{name} is {value!r}; give {_words(hints[name])}.")


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in _PARTS:
        return _PARTS[origin](value, get_args(hint))
    if hint in (int, float):
        allowed = (int, float) if hint is float else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) and hint is not Any else True


def _each(value: Any, inner: Sequence[Any]) -> bool:
    return isinstance(value, list | tuple) and all(_fits(x, inner[0]) for x in value)


def _all(value: Any, inner: Sequence[Any]) -> bool:
    if not isinstance(value, list | tuple) or len(value) != len(inner):
        return False
    return all(_fits(x, hint) for x, hint in zip(value, inner, strict=True))


_PARTS: Mapping[Any, Callable[[Any, Sequence[Any]], bool]] = {
    Union: lambda value, inner: any(_fits(value, x) for x in inner),
    UnionType: lambda value, inner: any(_fits(value, x) for x in inner),
    Literal: lambda value, inner: type(value) in {type(x) for x in inner},
    Sequence: _each,
    tuple: _all,
    Mapping: lambda value, inner: (
        isinstance(value, Mapping) and all(_fits(x, inner[1]) for x in value.values())
    ),
}
"""How a value is compared with a hint that has parts; which word of a ``Literal`` it is, the
dataclass checks itself."""


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_words(x) for x in inner if x is not NoneType)
    if origin is Literal:
        return _words(type(inner[0]))
    if origin is Sequence:
        return f"a list, each entry {_words(inner[0])}"
    if origin is tuple:
        return f"a list of {len(inner)}"
    return "a table" if origin is Mapping else _WORDS.get(hint, "a table")
