"""Values of unknown origin as Python's own: real booleans, finite numbers, texts, plain JSON.

Each function returns the value as it is wanted, or raises :class:`Unfit`, which says in words what the
value is and what to give instead. Whoever reads the value adds who gave it. Scalars of numpy, and of
anything else that hands out its number by ``item()``, are converted: JSON can hold no other than
Python's own.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

_LONGEST = 80
_DEEPEST = 90
"""JSON that is nested deeper cannot be read back."""


class Unfit(Exception):  # noqa: N818 - it never leaves the library as it is
    """A value is not what is wanted.

    Attributes:
        give: What to give instead.
        place: Which of several values it is, from 0; ``None`` for all of them.
        inside: Where in the value it is, such as ``['counts'][3]``; empty for the value itself.
    """

    def __init__(self, came: str, give: str, place: int | None = None) -> None:
        super().__init__(came, give)
        self._came = came
        self.give = give
        self.place = place
        self.inside = ""

    @property
    def came(self) -> str:
        """What came, as a predicate, such as ``is 'no'``."""
        return f"{self._came} at {self.inside}" if self.inside else self._came


def shown(value: Any) -> str:
    """Return a value as a short text of one line; whatever its ``repr`` does, this returns."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - an error message must not fail itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def told(error: BaseException) -> str:
    """Return what an exception says, with its type, as one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - as in shown
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text[: 4 * _LONGEST]}" if text else kind


def scalar(value: Any) -> Any:
    """Return the number that a scalar of numpy or a tensor of one element holds; others as they are."""
    try:
        return value.item() if callable(getattr(value, "item", None)) else value
    except Exception:  # noqa: BLE001 - an array of several numbers is no scalar
        return value


def flag(value: Any) -> bool:
    """Return a real boolean; no text, no number stands for one."""
    own = value if type(value) is bool else scalar(value)
    if own is True or own is False:
        return own
    raise Unfit(f"is {shown(value)}", "give True or False")


def number(value: Any) -> float:
    """Return a finite number; whole numbers stay whole."""
    own = scalar(value)
    if not _is_finite(own):
        raise Unfit(f"is {shown(value)}", "give a finite number")
    return int(own) if isinstance(own, Integral) else float(own)


def whole(value: Any) -> int:
    """Return a whole number."""
    own = scalar(value)
    if not isinstance(own, Integral) or not _is_finite(own):
        raise Unfit(f"is {shown(value)}", "give a whole number")
    return int(own)


def _is_finite(value: Any) -> bool:
    """Whether a value is a real number that a float can hold, and no boolean."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise Unfit(f"is {shown(value)}", "give a text (str)")
    return str(value)


def optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a reader that lets ``None`` through."""

    def read_or_none(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except Unfit as unfit:
            raise Unfit(unfit.came, f"{unfit.give}, or None") from None

    return read_or_none


def plain(value: Any, parents: tuple[int, ...] = ()) -> Any:
    """Return a value as JSON holds it: texts, booleans, None, numbers, lists and mappings.

    Args:
        value: The value.
        parents: What it lies in, by ``id``.
    """
    if len(parents) > _DEEPEST or id(value) in parents:
        raise Unfit("is nested too deep", f"give plain JSON, at most {_DEEPEST} deep")
    if isinstance(value, Mapping):
        return _plain_members(value.items(), (*parents, id(value)), _key)
    if isinstance(value, list | tuple):
        return list(_plain_members(enumerate(value), (*parents, id(value)), int).values())
    own = scalar(value) if getattr(value, "shape", None) == () else value
    if own is None or isinstance(own, bool):
        return own
    for kind in (str, float):  # that are not finite, too, as json writes and reads them
        if isinstance(own, kind):
            return kind(own)
    if not isinstance(own, Integral) or not _is_finite(own):
        raise Unfit(f"holds {shown(value)}", "give plain JSON")
    return int(own)


def _plain_members(
    members: Iterable[tuple[Any, Any]], parents: tuple[int, ...], key: Callable[[Any], Any]
) -> dict[Any, Any]:
    """Return the members of a list or mapping as plain JSON, by their place."""
    result = {}
    for name, value in members:
        try:
            result[key(name)] = value if type(value) in _LEAVES else plain(value, parents)
        except Unfit as unfit:
            unfit.inside = f"[{shown(name)}]{unfit.inside}"
            raise
    return result


_LEAVES = frozenset({str, float, bool, type(None)})


def _key(name: Any) -> Any:
    own = scalar(name) if getattr(name, "shape", None) == () else name
    if own is None or isinstance(own, str | int | float):
        return own
    raise Unfit(f"has the key {shown(name)}", "give plain JSON, whose keys are texts")
