"""The space of all texts up to a length.

Gymnasium's own ``Text`` holds a set of allowed characters; one of all Unicode takes seconds to build
and megabytes to keep. What models write has no fixed alphabet, so only the length is bounded here.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Text
from numpy.typing import NDArray

PRINTABLE = "".join(map(chr, range(32, 127)))
LONGEST_SAMPLE = 256

_Mask = tuple[int | None, NDArray[Any] | None]


class UnicodeText(Text):
    """Every ``str`` of at most ``max_length`` characters, the empty one included.

    Samples are printable ASCII and at most 256 characters long, so that random play is cheap.
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
            length = int(self.np_random.integers(longest + 1))
            first, last = ord(PRINTABLE[0]), ord(PRINTABLE[-1])
            codes = self.np_random.integers(first, last + 1, size=length, dtype=np.uint8)
            return codes.tobytes().decode("ascii")
        return super().sample(mask, probability)

    def contains(self, x: Any) -> bool:
        """Return whether ``x`` is a ``str`` that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def is_np_flattenable(self) -> bool:
        """Always false: a text of any characters has no array of fixed shape."""
        return False

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object, /) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))
