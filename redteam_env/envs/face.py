"""What the AEC and the parallel face have in common: spaces, state, rendering, the record."""

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Dict

from redteam_env.envs.config import RENDER_MODES, EnvConfig
from redteam_env.envs.render import render
from redteam_env.envs.session import Session, reseed
from redteam_env.envs.spaces import UnicodeText
from redteam_env.game import Episode


class Face:
    """A PettingZoo environment around one :class:`~redteam_env.envs.session.Session`.

    Attributes:
        session: The game behind the environment.
        render_mode: ``ansi``, ``human`` or ``None``.
        possible_agents: The seats in the order in which they move.
        state_space: The space of :meth:`state`.
        np_random: The only randomness; ``None`` before the first reset.
    """

    # the defender answers what it has seen, so the seats cannot move at once
    metadata: ClassVar[dict[str, Any]] = {
        "name": "redteam_v0",
        "render_modes": list(RENDER_MODES),
        "is_parallelizable": False,
        "render_fps": 1,
    }

    def __init__(self, config: EnvConfig) -> None:
        self.session = Session(config)
        self.render_mode = config.render_mode
        self.possible_agents: list[str] = list(self.session.game.seats)
        self.agents: list[str] = []
        self.observation_spaces: dict[str, Dict] = {
            seat: self.session.observation_space(seat) for seat in self.possible_agents
        }
        self.action_spaces: dict[str, UnicodeText] = {
            seat: self.session.action_space() for seat in self.possible_agents
        }
        self.state_space = self.session.state_space()
        self.np_random: np.random.Generator | None = None

    def observation_space(self, agent: str) -> Dict:
        """Return the space of a seat's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> UnicodeText:
        """Return the space of a seat's actions, always the same object."""
        return self.action_spaces[agent]

    @property
    def episode(self) -> Episode | None:
        """The finished game as a record, or ``None`` while it runs."""
        return self.session.episode

    def state(self) -> str:
        """Return the whole game, thoughts, seed and label included, as JSON.

        It is for centralised critics; no seat's own view.
        """
        return self.session.transcript()

    def render(self) -> str | None:
        """Return the game so far (``ansi``) or print what is new of it (``human``)."""
        return render(self.session, self.render_mode)

    def close(self) -> None:
        """Do nothing: the environment holds no window, process or connection."""

    def _start(self, seed: int | None, options: dict[str, Any] | None) -> None:
        self.np_random = reseed(self.np_random, seed)
        self.session.start(self.np_random, options)
        self.agents = list(self.possible_agents)
        self._show()

    def _act(self, action: Any) -> None:
        self.session.act(action)
        self._show()

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()
