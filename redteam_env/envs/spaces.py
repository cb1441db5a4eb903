"""The space of all texts up to a length.

Gymnasium's own ``Text`` holds a set of allowed characters; one of all Unicode takes seconds to build
and megabytes to keep. What models write has no fixed alphabet, so only the length is bounded here.

Gymnasium's functions of spaces are told here what to do with it: a text becomes an array by the code
points of its characters (``FlattenObservation``), and travels in shared memory in the same way
(``AsyncVectorEnv``).
"""

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space, Text, utils
from gymnasium.vector.utils import (
    batch_differing_spaces,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from numpy.typing import NDArray

PRINTABLE = "".join(map(chr, range(32, 127)))
LONGEST_SAMPLE = 64
_AS_PRINTABLE = bytes(ord(PRINTABLE[k * len(PRINTABLE) // 256]) for k in range(256))
"""A printable character for every byte; each stands for two or three of them."""
NOTHING = sys.maxunicode + 1
"""What stands in an array after the last character of a text."""

_Mask = tuple[int | None, NDArray[Any] | None]


class UnicodeText(Text):
    """Every ``str`` of at most ``max_length`` characters, the empty one included.

    Samples are printable ASCII and at most 64 characters long, so that random play is cheap.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        """Make the space.

        Args:
            max_length: Most characters, at least 0.
            seed: Seeds the sampling.
        """
        super().__init__(max_length, min_length=0, charset=PRINTABLE, seed=seed)

    def sample(self, mask: _Mask | None = None, probability: _Mask | None = None) -> str:
        """Return a random text.

        Args:
            mask: A length (or ``None`` for any) and which of the 95 printable characters may occur.
            probability: A length and the probability of each printable character.

        Returns:
            A text of the space.
        """
        if mask is None and probability is None:
            longest = min(self.max_length, LONGEST_SAMPLE)
            # one call; Generator.integers() and Generator.bytes() take five times as long
            raw = self.np_random.bit_generator.random_raw(2 + LONGEST_SAMPLE // 8)
            length = int(raw[-1]) % (longest + 1)
            return raw.tobytes()[:length].translate(_AS_PRINTABLE).decode("ascii")
        return super().sample(mask, probability)

    def contains(self, x: Any) -> bool:
        """Return whether ``x`` is a ``str`` that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object, /) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))


# Gymnasium looks this one up by the class itself, so that of the base class has to be named
batch_differing_spaces.register(UnicodeText, batch_differing_spaces.dispatch(Text))


@utils.flatten_space.register(UnicodeText)
def _flatten_space(space: UnicodeText) -> Box:
    return Box(0, NOTHING, (space.max_length,), np.int32)


@utils.flatten.register(UnicodeText)
def _flatten(  # type: ignore[misc]  # it is a space of str
    space: UnicodeText, x: str
) -> NDArray[np.int32]:
    codes = np.full(space.max_length, NOTHING, dtype=np.int32)
    codes[: len(x)] = _codes(x)
    return codes


@utils.unflatten.register(UnicodeText)
def _unflatten(  # type: ignore[misc]  # it is a space of str
    space: UnicodeText,  # noqa: ARG001 - Gymnasium passes it
    x: NDArray[Any],
) -> str:
    return _text(x[x < NOTHING])


@utils.is_space_dtype_shape_equiv.register(UnicodeText)
def _equivalent(space_1: UnicodeText, space_2: Space[Any]) -> bool:
    return space_1 == space_2


@create_shared_memory.register(UnicodeText)
def _create_shared_memory(space: UnicodeText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("i", n * (1 + space.max_length))


@write_to_shared_memory.register(UnicodeText)
def _write_to_shared_memory(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    place = _places(space, shared_memory)[index]
    place[1 : 1 + len(value)] = _codes(value)
    place[0] = len(value)


@read_from_shared_memory.register(UnicodeText)
def _read_from_shared_memory(space: UnicodeText, shared_memory: Any, n: int = 1) -> "SharedTexts":  # noqa: ARG001
    return SharedTexts(_places(space, shared_memory))


class SharedTexts(Sequence[str]):
    """The texts that stand in shared memory now; a deep copy is a tuple of them.

    Gymnasium reads shared memory once, when a vector environment begins, and copies what it has read
    after every step. It takes it for granted that what was read shows what is written later, as an
    array over the memory does.

    Args:
        places: A row for each text: its length, then its code points.
    """

    def __init__(self, places: NDArray[np.int32]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = self._places[index]
        return _text(place[1 : 1 + place[0]])

    def __iter__(self) -> Iterator[str]:
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | SharedTexts) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # its texts change

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


def _places(space: UnicodeText, shared_memory: Any) -> NDArray[np.int32]:
    memory: NDArray[np.int32] = np.frombuffer(shared_memory.get_obj(), dtype=np.int32)
    return memory.reshape(-1, 1 + space.max_length)


def _codes(text: str) -> NDArray[np.int32]:
    """Return the code points of a text; lone surrogates are characters like all others."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<i4")


def _text(codes: NDArray[Any]) -> str:
    return codes.astype("<i4").tobytes().decode("utf-32-le", "surrogatepass")
