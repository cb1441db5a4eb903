"""A policy that Stable-Baselines3 trained, at a seat: no Stable-Baselines3 and no torch are needed.

The folder holds ``agent.json`` and ``policy.safetensors``: the layers of the small network that
scores the moves, nothing pickled. See :func:`redteam_env.runs.find_saved` for how it is found.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from redteam_env.embedders import resolve_embedder
from redteam_env.envs.features import Features
from redteam_env.envs.moves import Moves, moves_of, spoken
from redteam_env.game import RedteamError
from redteam_env.protocols import Reply, TurnRequest
from redteam_env.randomness import generator
from redteam_env.runs import find_saved

WEIGHTS_FILE = "policy.safetensors"
Array = np.ndarray[Any, Any]


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {"Tanh": np.tanh, "ReLU": _relu}


class NetworkAgent:
    """Scores every move with a small network and plays one of them.

    Args:
        features: What the network sees of a request.
        moves: What it chooses from.
        layers: Weight (out, in) and bias (out,) of each layer.
        activation: Between the layers: a key of :data:`ACTIVATIONS`.
        temperature: 0 plays the move with the highest score; above, moves are drawn with
            probabilities softmax(scores / temperature), at 1 those the policy was trained with.
    """

    def __init__(
        self,
        features: Features,
        moves: Moves,
        layers: Sequence[tuple[Array, Array]],
        *,
        activation: str,
        temperature: float = 0.0,
    ) -> None:
        self._features = features
        self._moves = moves
        self._layers = layers
        self._activation = ACTIVATIONS[activation]
        self._temperature = temperature

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        if not requests:
            return []
        scores = self.scores(np.stack([self._features.of(x) for x in requests]))
        return [
            Reply(text=spoken(self._moves, self._choose(row, x), x))
            for row, x in zip(scores, requests, strict=True)
        ]

    def scores(self, seen: Array) -> Array:
        """Return the score of each move, of shape (n, moves), for features of shape (n, size)."""
        for weight, bias in self._layers[:-1]:
            seen = self._activation(seen @ weight.T + bias)
        weight, bias = self._layers[-1]
        return seen @ weight.T + bias

    def _choose(self, scores: Array, request: TurnRequest) -> int:
        if self._temperature == 0:
            return int(scores.argmax())
        logits = scores.astype(np.float64) / self._temperature
        shares = np.exp(logits - logits.max()).cumsum()
        # what the move itself draws from the path must not hang on which move it is
        draw = generator((*request.path, "move")).random()
        return int(np.searchsorted(shares, draw * shares[-1], side="right"))


def sb3(role: str, directory: Path | None = None, temperature: float = 0.0) -> NetworkAgent:
    """A policy of Stable-Baselines3: name its run or checkpoint.

    Args:
        role: The role it is to play: the one it was trained in.
        directory: The folder that ``redteam-env train`` wrote, a run or a checkpoint.
        temperature: 0 plays the best move; a value-based policy (DQN) always does.

    Returns:
        The agent.

    Raises:
        RedteamError: If there is no such folder, or it is damaged or of another role.
    """
    saved = None if directory is None else find_saved(str(directory))
    if saved is None:
        raise RedteamError(
            f"The agent 'sb3' plays what was trained; name a run directory or checkpoint of "
            f"sb3_ppo, sb3_a2c or sb3_dqn in its place (directory is {directory!r})."
        )
    if saved.role != role:
        raise RedteamError(f"{str(directory)!r} was trained as {saved.role}, not as {role}.")
    try:
        tensors = load_file(saved.directory / WEIGHTS_FILE)
        card = saved.card
        features = Features(resolve_embedder(card["embedder"]), card["views"])
        moves = moves_of(card["moves"])
        layers = [(tensors[f"{k}.weight"], tensors[f"{k}.bias"]) for k in range(card["layers"])]
        found = {"features": layers[0][0].shape[1], "moves": layers[-1][0].shape[0]}
        wanted = {"features": features.size, "moves": len(moves.names)}
        if found != wanted:
            raise RedteamError(
                f"The network in {str(saved.directory)!r} is for {found}, but there are {wanted}; "
                "use the embedder and the version that it was trained with."
            )
        return NetworkAgent(
            features,
            moves,
            layers,
            activation=card["activation"],
            temperature=0.0 if card["greedy"] else temperature,
        )
    except (OSError, SafetensorError, KeyError, TypeError, IndexError) as error:
        raise RedteamError(
            f"The policy in {str(saved.directory)!r} cannot be read ({type(error).__name__}: "
            f"{error}); use another checkpoint."
        ) from error
