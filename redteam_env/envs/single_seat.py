"""The single-seat face: one seat as a Gymnasium environment, the other played by an agent."""

from typing import Any

import gymnasium

from redteam_env.envs.config import RENDER_MODES, SeatConfig, takes
from redteam_env.envs.render import render
from redteam_env.envs.session import Info, Observation, Session
from redteam_env.game import Episode, RedteamError, role_of
from redteam_env.protocols import Agent
from redteam_env.randomness import Path
from redteam_env.resolve import resolve_agent
from redteam_env.rollout import turn_request

OPPONENTS = {"attacker": "template", "defender": "comply"}
MOST_FORFEITS = 100


class SingleSeat(gymnasium.Env[Observation, str]):
    """One seat of the game.

    Observations, actions and infos are those of the seat in :mod:`redteam_env.redteam_v0`; the last
    info also carries the finished game as ``redteam_episode``: a record for you, thoughts of the
    opponent included, not for the player (the name ``episode`` belongs to the statistics of
    Gymnasium and Stable-Baselines3). An attacker's view plays rewritten games only. A game that an
    opponent forfeits before the seat could move is dropped and another one is drawn.

    Attributes:
        session: The game behind the environment.
        opponents: Who plays the other seats.
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it without ClassVar
        "render_modes": list(RENDER_MODES),
        "render_fps": 1,
    }

    def __init__(self, config: SeatConfig) -> None:
        self.session = Session(config)
        self.seat = config.seat
        self.render_mode = config.render_mode
        # Gymnasium types Dict as a space of spaces
        self.observation_space = self.session.observation_space(self.seat)  # type: ignore[assignment]
        self.action_space = self.session.action_space()
        self.opponents: dict[str, Agent] = {}
        for seat in self.session.game.seats:
            if seat != self.seat:
                role = role_of(seat)
                chosen = OPPONENTS[role] if config.opponent is None else config.opponent
                self.opponents[seat] = resolve_agent(chosen, role)
        self._path: Path = ()

    @property
    def episode(self) -> Episode | None:
        """The finished game as a record, or ``None`` while it runs."""
        return self.session.episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start a game and play it until the seat is to move.

        Args:
            seed: Makes this game and those after it repeatable.
            options: ``seed`` (a :class:`~redteam_env.game.Seed`) and ``rewritten`` (a bool) fix
                the game; other keys are ignored.

        Returns:
            The seat's observation and info.

        Raises:
            RedteamError: If an option is of the wrong type or asks an attacker to watch a raw game,
                or the opponent forfeits 100 games on end.
        """
        super().reset(seed=seed)
        fixed = dict(options or {})
        if role_of(self.seat) == "attacker" and fixed.setdefault("rewritten", True) is False:
            raise RedteamError("In a raw game the attacker never moves; play rewritten=True.")
        for _ in range(MOST_FORFEITS):
            self.session.start(self.np_random, fixed)
            self._path = (int(self.np_random.integers(2**63)),)
            self._play_opponents()
            if self.session.episode is None:
                self._show()
                return self.session.observe(self.seat), self.session.info(self.seat)
        raise RedteamError(
            f"The opponent of {self.seat} forfeited {MOST_FORFEITS} games before {self.seat} could "
            "move; it must keep the think-answer format, or set thinking to optional or none."
        )

    def step(self, action: str) -> tuple[Observation, float, bool, bool, Info]:
        """Act, and let the others play until the seat is to move again or the game is over.

        Args:
            action: Any text.

        Returns:
            Observation, reward, whether the game is over, ``False``, and info.

        Raises:
            RedteamError: If no game runs or the action is no text.
        """
        self.session.act(action)
        self._play_opponents()
        self._show()
        info = self.session.info(self.seat)
        over = self.session.episode is not None
        if over:
            info["redteam_episode"] = self.session.episode
        reward = self.session.reward(self.seat)
        return self.session.observe(self.seat), reward, over, False, info

    def render(self) -> str | None:
        """Return the game so far (``ansi``) or print what is new of it (``human``)."""
        return render(self.session, self.render_mode)

    def _play_opponents(self) -> None:
        while (seat := self.session.running.to_move) not in (self.seat, None):
            request = turn_request(self.session.game, self.session.running, self._path)
            (reply,) = self.opponents[str(seat)].act([request])
            self.session.act(reply.text)

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()


@takes(SeatConfig)
def single_seat(config: SeatConfig) -> SingleSeat:
    """Return one seat of the game as a Gymnasium environment."""
    return SingleSeat(config)
