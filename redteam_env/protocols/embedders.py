"""Who maps texts to vectors."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Embedder(Protocol):
    """Maps texts to vectors, for diversity measures and feature wrappers."""

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return unit vectors of shape (len(texts), dimension)."""
        ...
