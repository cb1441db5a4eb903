"""Games of one seat side by side, as Stable-Baselines3 takes them: opponents are asked once for all.

With one game it gives the same transitions as ``EmbeddingObservation(TacticActions(...))``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.vec_env import VecEnv

from redteam_env.envs.features import Features
from redteam_env.envs.moves import Moves, spoken
from redteam_env.envs.single_seat import SingleSeat, reset_together, step_together

Array = np.ndarray[Any, Any]


class SeatGames(VecEnv):  # type: ignore[misc]  # optional, so not looked into
    """Several games of a seat that plays numbered moves.

    Args:
        seats: The seat in each game, with one opponent for all.
        moves: What the numbers mean.
        features: What the learner sees.
    """

    def __init__(self, seats: Sequence[SingleSeat], moves: Moves, features: Features) -> None:
        self._seats = list(seats)
        self._moves = moves
        self._features = features
        self._actions: list[int] = []
        box = Box(-1.0, 1.0, (features.size,), np.float32)
        super().__init__(len(self._seats), box, Discrete(len(moves.names)))

    def reset(self) -> Array:
        """Start a game at every seat; return features of shape (games, size)."""
        found = reset_together(self._seats, self._seeds)
        self.reset_infos = [info for _, info in found]
        self._reset_seeds()
        return self._observe(self._seats)

    def step_async(self, actions: Array) -> None:
        """Take the number of each seat's move."""
        self._actions = [int(x) for x in actions]

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Play the moves; return features, rewards, ends and infos, and start ended games anew."""
        turns = zip(self._actions, self._seats, strict=True)
        texts = [spoken(self._moves, move, seat.turn()) for move, seat in turns]
        outcomes = step_together(self._seats, texts)
        rewards = np.array([reward for _, reward, *_ in outcomes], dtype=np.float32)
        ends = np.array([over for _, _, over, *_ in outcomes])
        infos = [
            {**info, "move": self._moves.names[move]}
            for move, (*_, info) in zip(self._actions, outcomes, strict=True)
        ]
        ended = [seat for seat, over in zip(self._seats, ends, strict=True) if over]
        for info, over in zip(infos, ends, strict=True):
            if over:
                info["terminal_observation"] = np.zeros(self._features.size, dtype=np.float32)
        if ended:
            reset_together(ended, [None] * len(ended))
        return self._observe(self._seats), rewards, ends, infos

    def _observe(self, seats: Iterable[SingleSeat]) -> Array:
        return np.stack([self._features.of(seat.turn()) for seat in seats])

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of each seat."""
        return [getattr(self._seats[k], attr_name) for k in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of each seat."""
        for k in self._get_indices(indices):
            setattr(self._seats[k], attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each seat."""
        chosen = [self._seats[k] for k in self._get_indices(indices)]
        return [getattr(seat, method_name)(*method_args, **method_kwargs) for seat in chosen]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return for each seat whether it is of a class: it has no wrappers."""
        return [isinstance(self._seats[k], wrapper_class) for k in self._get_indices(indices)]
