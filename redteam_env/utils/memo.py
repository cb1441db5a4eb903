"""Functions that remember what they returned, inside objects that can be copied and pickled."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """A function of one argument that keeps its latest results and returns them again.

    A plain ``lru_cache`` on an object's own function makes the object impossible to pickle. A copy of
    this one, or what is read back from its pickle, starts with nothing remembered.

    Args:
        function: Always returns the same for the same argument; a pickle needs one that pickles, so
            no lambda.
        size: Most results that are kept.
    """

    def __init__(self, function: Callable[[K], V], size: int) -> None:
        self._function = function
        self._size = size
        self._cached = lru_cache(maxsize=size)(function)

    def __call__(self, argument: K) -> V:
        """Return the function's result."""
        return self._cached(argument)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._function, self._size)
