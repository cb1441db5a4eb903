"""Seeded generators addressed by path, so that no result depends on batch size or order.

A path such as ``(run_seed, "step", 3, "game", 17, "attacker_0", "sample", 0)`` names one stream
of random numbers. Two paths that differ anywhere give independent streams (NumPy's
``SeedSequence`` with a hashed spawn key), and the same path gives the same stream on any machine.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

AddressPart = int | str
Address = tuple[AddressPart, ...]
"""The path of a random stream."""


@lru_cache(maxsize=4096, typed=True)
def _words(part: AddressPart) -> tuple[int, ...]:
    if isinstance(part, bool) or not isinstance(part, int | str):
        raise TypeError(f"A path consists of integers and strings, not {part!r}.")
    kind = b"i" if isinstance(part, int) else b"s"
    digest = hashlib.sha256(kind + str(part).encode("utf-8", "surrogatepass")).digest()
    return tuple(int.from_bytes(digest[k : k + 4], "little") for k in (0, 4, 8, 12))


def generator(path: Sequence[AddressPart]) -> np.random.Generator:
    """Return the random generator that belongs to a path.

    Args:
        path: Integers and strings, most general first; at least one.

    Returns:
        A fresh Philox generator: equal paths start equal streams.

    Raises:
        ValueError: If the path is empty.
        TypeError: If a part is neither an integer nor a string.
    """
    if not path:
        raise ValueError("A path needs at least one part: an empty one would not be seeded.")
    # as an array, numpy need not look at each number to see whether it fits into 32 bits
    words = np.array([word for part in path for word in _words(part)], dtype=np.uint32)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def integer_seed(path: Sequence[AddressPart]) -> int:
    """Return a non-negative 63-bit seed for libraries that take an integer."""
    return int(generator(path).integers(0, 2**63 - 1))
