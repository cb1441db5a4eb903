"""The parallel face: one call steps all seats, and only the seat to move is listened to."""

from collections.abc import Mapping
from typing import Any

from pettingzoo.utils.env import ParallelEnv  # type: ignore[import-untyped]  # no py.typed there

from redteam_env.envs.config import EnvConfig
from redteam_env.envs.face import Face
from redteam_env.envs.session import Info, Observation
from redteam_env.game import RedteamError
from redteam_env.protocols import Reply


class RedTeamParallel(Face, ParallelEnv):  # type: ignore[misc]  # untyped base
    """The game as a PettingZoo parallel environment; :mod:`redteam_env.redteam_v0` has its card.

    A conversion of the AEC face would make the defender answer before it sees the attack. Here
    ``step`` reads the action of the one seat to move, which ``infos[agent]["to_move"]`` names.
    """

    def __init__(self, config: EnvConfig) -> None:
        super().__init__(config)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, Info]]:
        """Start a game.

        Args:
            seed: Makes this game and those after it repeatable.
            options: ``seed`` (a :class:`~redteam_env.game.Seed`) and ``rewritten`` (a bool) fix
                the game; other keys are ignored.

        Returns:
            Observations and infos of all seats.

        Raises:
            RedteamError: If an argument is of the wrong type, or the source has no fitting seed.
        """
        self._start(seed, options)
        return self._observations(), self._infos()

    def step(
        self, actions: Mapping[str, str | Reply]
    ) -> tuple[
        dict[str, Observation],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, Info],
    ]:
        """Let the seat to move act; the actions of all others are not read.

        Args:
            actions: Any text, or an agent's reply, for the seat that ``infos[agent]["to_move"]``
                names.

        Returns:
            Observations, rewards, terminations, truncations and infos of all seats.

        Raises:
            RedteamError: If no game runs, or the action of the seat to move is missing or no
                text; the game then stands as it stood.
        """
        to_move = self.session.running.to_move
        if to_move is not None and to_move not in actions:
            raise RedteamError(
                f"{to_move} is to move, but the actions are those of {sorted(actions)}; "
                'infos[agent]["to_move"] names the seat that must act.'
            )
        self._act(actions[to_move] if to_move else "")
        over = self.session.episode is not None
        seats = list(self.agents)
        result = (
            self._observations(),
            {seat: self.session.reward(seat) for seat in seats},
            dict.fromkeys(seats, over),
            dict.fromkeys(seats, False),
            self._infos(),
        )
        if over:
            self.agents = []
        return result

    def _observations(self) -> dict[str, Observation]:
        return {seat: self.session.observe(seat) for seat in self.agents}

    def _infos(self) -> dict[str, Info]:
        return {seat: self.session.info(seat) for seat in self.agents}
