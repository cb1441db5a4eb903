"""Many games at once, for a language model in a program of one's own.

::

    games = VectorGame(16, seeds="builtin", judge="lexical")
    games.reset(seed=1)
    while requests := games.requests():  # whose turn it is, and the chat messages for it
        texts = my_model([request.messages for request in requests])
        steps = games.step(texts)  # rewards, infos, and the record of each game that ended
    print([episode.rewards for episode in games.episodes])

Each game is that of the AEC environment, bit for bit: game ``k`` of ``reset(seed=s)`` is the game of
``env(...)`` after its ``reset(seed=s + k)``. What is asked and judged together is asked once: a call of
the model for all turns, and a call of the judge for all games that end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from redteam_env.envs.config import EnvConfig, takes
from redteam_env.envs.session import Info, Session, act_together, whole_seed
from redteam_env.game import Count, Episode, RedteamError, check_fields
from redteam_env.protocols import Reply, TurnRequest
from redteam_env.randomness import Address
from redteam_env.rollout import turn_request


@dataclass(frozen=True, slots=True, kw_only=True)
class GameStep:
    """What one action did in its game.

    Attributes:
        game: The number of the game, from 0.
        seat: The seat that acted.
        rewards: What the action earned each seat: nothing before the game is over.
        infos: For each seat, its info as the AEC environment gives it (:mod:`redteam_env.redteam_v0`).
        episode: The finished game as a record; ``None`` while it runs.
    """

    game: int
    seat: str
    rewards: Mapping[str, float]
    infos: Mapping[str, Info]
    episode: Episode | None

    @property
    def over(self) -> bool:
        """Whether the game is over."""
        return self.episode is not None


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How many games there are, and whether the next one begins where one ends."""

    games: Count
    autoreset: bool

    def __post_init__(self) -> None:
        check_fields(self)


class VectorGame:
    """Several games side by side, all with the same rules, seeds and judge.

    Without ``autoreset`` a game that is over is asked nothing more; once all are, :meth:`requests` is
    empty, and :meth:`reset` starts the next ones. With it, the next game begins in the place of one that
    is over, in the same call of :meth:`step` (Gymnasium's ``SAME_STEP``): the step tells how the old game
    ended, and the next :meth:`requests` ask about the new one, which is the one that an AEC environment
    has after a further ``reset()`` without a seed.

    Args:
        games: How many, at least 1.
        autoreset: Whether the next game begins where one ends.
        **settings: Those of :func:`redteam_env.env`, such as ``seeds``, ``judge``, ``rewards``.

    Attributes:
        sessions: The game behind each place.

    Raises:
        RedteamError: If a setting is unknown or wrong.
    """

    def __init__(self, games: int = 8, *, autoreset: bool = False, **settings: Any) -> None:
        _Shape(games=games, autoreset=autoreset)
        config = _config(**settings)
        if config.render_mode is not None:
            raise RedteamError(
                f"render_mode is {config.render_mode!r}, but many games at once are not shown; leave it out."
            )
        session = Session(config)
        self._autoreset = autoreset
        self.sessions = tuple(session.another() for _ in range(games))
        self._rngs: list[np.random.Generator | None] = [None] * games
        self._paths: list[Address] = [()] * games
        self._last: list[Episode | None] = [None] * games

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def seats(self) -> tuple[str, ...]:
        """The seats of each game in the order in which they move."""
        return self.sessions[0].game.seats

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The last finished game of each place that has one, in order."""
        return tuple(episode for episode in self._last if episode is not None)

    def reset(
        self,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Start a game in every place; games that still run are left.

        Args:
            seed: Game ``k`` gets ``seed + k``, or the ``k``-th of several seeds; ``None`` goes on with
                the randomness there is, or starts an unpredictable one.
            options: As in the AEC environment (``seed``, a :class:`~redteam_env.game.Seed`, and
                ``rewritten`` fix a game): the same for all, or one for each.

        Raises:
            RedteamError: If an argument is wrong, or the source has no fitting seed.
        """
        seeds = self._each(self._numbered(seed), "seeds")
        options = [options] * len(self) if isinstance(options, Mapping | None) else options
        chosen = self._each(options, "options")
        self._last = [None] * len(self)
        for k in range(len(self)):
            self._start(k, seeds[k], chosen[k])

    def requests(self) -> list[TurnRequest]:
        """Return what is asked now: one request for each running game, in the order of the games.

        Raises:
            RedteamError: If no game was started.
        """
        return [
            turn_request(self.sessions[k].game, self.sessions[k].running, self._paths[k])
            for k in self._running()
        ]

    def step(self, texts: Sequence[str | Reply]) -> list[GameStep]:
        """Act in all running games.

        Args:
            texts: A text, or an agent's reply, for each of :meth:`requests`, in order.

        Returns:
            What each did, in the same order.

        Raises:
            RedteamError: If there are more or fewer of them, or one is no text. All games then stand as
                they stood.
        """
        running = self._running()
        if not isinstance(texts, Sequence | np.ndarray) or isinstance(texts, str):
            given = "one text" if isinstance(texts, str) else type(texts).__name__
            raise RedteamError(
                f"step() was given {given}; give a list with one for each of requests()."
            )
        if len(texts) != len(running):
            raise RedteamError(
                f"step() was given {len(texts)} texts for {len(running)} requests; give one for each of "
                "requests()."
            )
        acting = [self.sessions[k] for k in running]
        seats = [str(session.running.to_move) for session in acting]
        act_together(acting, texts)
        steps = [
            GameStep(
                game=k,
                seat=seat,
                rewards={x: session.reward(x) for x in self.seats},
                infos={x: session.info(x) for x in self.seats},
                episode=session.episode,
            )
            for k, seat, session in zip(running, seats, acting, strict=True)
        ]
        for step in steps:
            if step.episode is not None:
                self._last[step.game] = step.episode
                if self._autoreset:
                    self._start(step.game, None, None)
        return steps

    def _running(self) -> list[int]:
        return [k for k, x in enumerate(self.sessions) if x.running.to_move is not None]

    def _start(self, k: int, seed: int | None, options: Mapping[str, Any] | None) -> None:
        rng = self._rngs[k]
        if rng is None or seed is not None:
            rng, used = seeding.np_random(seed)
            self._rngs[k], self._paths[k] = rng, (int(used), 0)
        elif self.sessions[k].state is not None:
            origin, number = self._paths[k]
            self._paths[k] = (origin, int(number) + 1)
        self.sessions[k].start(rng, options)

    def _numbered(self, seed: Any) -> Sequence[int | None]:
        if seed is None or not isinstance(seed, Sequence | np.ndarray):
            first = whole_seed(seed)
            return [None if first is None else first + k for k in range(len(self))]
        return [whole_seed(x) for x in seed]

    def _each(self, given: Sequence[Any], what: str) -> Sequence[Any]:
        if len(given) != len(self):
            raise RedteamError(
                f"There are {len(given)} {what} for {len(self)} games; give one for each, or one for all."
            )
        return given


@takes(EnvConfig)
def _config(config: EnvConfig) -> EnvConfig:
    return config
