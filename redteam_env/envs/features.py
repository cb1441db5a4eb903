"""What a seat sees in a turn, as numbers.

The views of the attacker are the seed's label (+1 harmful, -1 benign; its instruction tells it as
much) and the seed, in games of several exchanges the defender's last answer, too; the view of the
defender is the last message to it. So a policy can act by what is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from redteam_env.embedders import embed_checked
from redteam_env.envs.moves import asked
from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import Embedder, TurnRequest
from redteam_env.utils.memo import Memo

LABEL = "label"
_CACHE = 1 << 14


def _heard(request: TurnRequest) -> str:
    """Return the last message of another seat; nothing before the attacker's first turn."""
    if request.seed is not None and len(request.messages) <= 2:
        return ""
    return str(request.messages[-1]["content"])


TEXTS: Mapping[str, Callable[[TurnRequest], str]] = {"asked": asked, "heard": _heard}


def views_of(role: str, exchanges: int) -> tuple[str, ...]:
    """Return what a role sees in games of so many exchanges, by the names of the views."""
    if role != "attacker":
        return ("heard",)
    return (LABEL, "asked", "heard") if exchanges > 1 else (LABEL, "asked")


class Features:
    """Turns requests into vectors.

    Args:
        embedder: Embeds each text; the vectors of texts are kept and used again.
        views: What is seen: ``label``, ``asked`` (the seed or last message), ``heard``.

    Attributes:
        views: The same.
        size: Length of a vector.

    Raises:
        RedteamError: If a view is unknown or there is none, or the embedder breaks its protocol.
    """

    def __init__(self, embedder: Embedder, views: Sequence[str]) -> None:
        if not views:
            raise RedteamError(
                f"There is nothing to see; name some of {LABEL}, {', '.join(TEXTS)}."
            )
        for view in views:
            if view != LABEL and view not in TEXTS:
                raise unknown_name("view", view, (LABEL, *TEXTS))
        self.views = tuple(views)
        self._embed = embedding(embedder)
        wide = len(self._embed(""))
        self.size = sum(1 if view == LABEL else wide for view in views)

    def of(self, request: TurnRequest) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return a request's vector, of shape (size,) and with numbers in [-1, 1]."""
        return np.concatenate([self._part(view, request) for view in self.views])

    def _part(self, view: str, request: TurnRequest) -> np.ndarray[Any, np.dtype[np.float32]]:
        if view == LABEL:
            harmful = request.seed is not None and request.seed.harmful
            return np.array([1.0 if harmful else -1.0], dtype=np.float32)
        return self._embed(TEXTS[view](request))


def embedding(embedder: Embedder) -> Callable[[str], np.ndarray[Any, np.dtype[np.float32]]]:
    """Return what embeds one text with an embedder; the vectors of texts are kept and used again."""
    return Memo(partial(_embed, embedder), _CACHE)


def _embed(embedder: Embedder, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    vector: np.ndarray[Any, np.dtype[np.float32]] = embed_checked(embedder, [text])[0]
    return vector
