"""Sequences that begin alike: which of them go on from which.

Each turn of a dialogue is prompted with all turns before it, and games of a group are prompted alike. So
most of a prompt has often been computed with another one already.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

_WORTH = 4
"""So many times its own last items a branch shares: those open an answer and are not repeated later."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a sequence leaves another one.

    Attributes:
        trunk: The place of the sequence that goes on; a trunk is its own.
        shared: How many first items the two have in common.
    """

    trunk: int
    shared: int


def branches(sequences: Sequence[Sequence[int]], lead: int) -> list[Branch]:
    """Hang each sequence on another that begins with it, but for a few last items.

    Args:
        sequences: Any sequences, also equal ones; of these all but one are branches.
        lead: How many first items all of them share; these alone are no reason.

    Returns:
        One branch for each, in order; every one that begins another sequence is a branch.
    """
    rows = [tuple(one) for one in sequences]
    found: dict[int, Branch] = {}
    trunks: list[tuple[tuple[int, ...], int]] = []
    for k in sorted(range(len(rows)), key=lambda k: -len(rows[k])):
        # of sorted sequences none has more in common with another than a neighbour
        place = bisect_left(trunks, (rows[k], -1))
        near = [(common(rows[k], row), n) for row, n in trunks[max(0, place - 1) : place + 1]]
        shared, trunk = max(near, default=(0, k))
        own = len(rows[k]) - shared
        if trunk == k or (own and own * _WORTH > shared - lead):
            trunk, shared = k, len(rows[k])
            trunks.insert(place, (rows[k], k))
        found[k] = Branch(trunk, shared)
    return [found[k] for k in range(len(rows))]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first items two sequences of one type have in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
