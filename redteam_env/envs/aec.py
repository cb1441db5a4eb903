"""The AEC face: the seats act one after the other."""

from typing import Any

from pettingzoo.utils.env import AECEnv  # type: ignore[import-untyped]  # no py.typed there
from pettingzoo.utils.wrappers import OrderEnforcingWrapper  # type: ignore[import-untyped]  # the same

from redteam_env.envs.config import EnvConfig
from redteam_env.envs.face import Face
from redteam_env.envs.session import Info, Observation
from redteam_env.protocols import Reply


class RedTeamAEC(Face, AECEnv):  # type: ignore[misc]  # untyped base
    """The game as a PettingZoo AEC environment; :mod:`redteam_env.redteam_v0` has its card.

    ``agent_selection`` is the seat to move: the attacker, or in a raw game the defender at once.
    """

    def __init__(self, config: EnvConfig) -> None:
        super().__init__(config)
        self.rewards: dict[str, float] = {}
        self.terminations: dict[str, bool] = {}
        self.truncations: dict[str, bool] = {}
        self._infos: dict[str, Info] | None = {}
        self.agent_selection = self.possible_agents[0]
        self._cumulative_rewards: dict[str, float] = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start a game.

        Args:
            seed: Makes this game and those after it repeatable.
            options: ``seed`` (a :class:`~redteam_env.game.Seed`) and ``rewritten`` (a bool) fix
                the game; other keys are ignored.

        Raises:
            RedteamError: If an argument is of the wrong type, or the source has no fitting seed.
        """
        self._start(seed, options)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self._update()

    @property
    def infos(self) -> dict[str, Info]:
        """What else the seats may know, put together when it is first asked for after a move."""
        if self._infos is None:
            self._infos = {agent: self.session.info(agent) for agent in self.agents}
        return self._infos

    def last(self, observe: bool = True) -> tuple[Observation | None, float, bool, bool, Info]:
        """Return what the seat to move sees, what it got, how its game ended if it did, and its info."""
        agent = self.agent_selection
        info = self.session.info(agent) if self._infos is None else self._infos[agent]
        return (
            self.observe(agent) if observe else None,
            self._cumulative_rewards[agent],
            self.terminations[agent],
            self.truncations[agent],
            info,
        )

    def observe(self, agent: str) -> Observation:
        """Return what a seat sees: its instruction and the public dialogue."""
        return self.session.observe(agent)

    def step(self, action: str | Reply | None) -> None:
        """Let the seat to move act.

        Args:
            action: Any text, or an agent's reply; ``None`` for a seat whose game is over.

        Raises:
            RedteamError: If no game was started, or the action is no text; the game then stands
                as it stood.
            ValueError: If a seat whose game is over acts.
        """
        if self.agents and self.terminations[self.agent_selection]:
            self._was_dead_step(action)
            return
        self._act(action)
        self._cumulative_rewards[self.agent_selection] = 0.0
        self.rewards = {agent: self.session.reward(agent) for agent in self.agents}
        self._accumulate_rewards()
        self._update()

    def _update(self) -> None:
        to_move = self.session.running.to_move
        over = self.session.episode is not None
        self.terminations = dict.fromkeys(self.agents, over)
        self.truncations = dict.fromkeys(self.agents, False)
        self._infos = None
        self.agent_selection = to_move or self.agents[0]


def _of_game(name: str) -> property:
    """Return an attribute that is the environment's own, once there is a game."""

    def of_game(self: "OrderedAEC") -> Any:
        if not self._has_reset:
            raise AttributeError(f"{name} cannot be accessed before reset")
        return getattr(self.env, name)

    return property(of_game)


class OrderedAEC(OrderEnforcingWrapper):  # type: ignore[misc]  # untyped base
    """PettingZoo's check of the calling order, for any AEC environment.

    PettingZoo's own looks every attribute up by its name after it was not found, and asks it for each of
    the five parts of :meth:`last`; both take as long as the answer.
    """

    agents = _of_game("agents")
    agent_selection = _of_game("agent_selection")
    rewards = _of_game("rewards")
    terminations = _of_game("terminations")
    truncations = _of_game("truncations")
    infos = _of_game("infos")

    def last(self, observe: bool = True) -> Any:
        """Return what the seat to move sees, what it got, how its game ended if it did, and its info."""
        return self.env.last(observe) if self._has_reset else super().last(observe)

    def step(self, action: Any) -> None:
        """Let the seat to move act."""
        if self._has_reset and self.env.agents:
            self._has_updated = True
            self.env.step(action)
        else:
            super().step(action)

    def __str__(self) -> str:
        return str(self.env)
