"""The game as a taskset of verifiers: each task is one seat's turn, and its reward the game's.

``pip install 'redteam-env[bridges]'``; ``load_taskset`` is for programs, and the module's name,
``redteam_env.bridges.verifiers``, for the configuration of verifiers.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import verifiers.v1 as vf
from pydantic import Field

from redteam_env.bridges.cases import Case, SeatTask

__all__ = ["SeatData", "SeatTaskset", "SeatTasksetConfig", "SeatTurn"]


class SeatTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]  # untyped base
    """Which games are asked.

    ``settings`` are those of :func:`redteam_env.single_seat`, such as ``opponent`` and ``judge``.
    """

    seat: str = "defender_0"
    games: int = 256
    first: int = 0
    settings: dict[str, Any] = Field(default_factory=dict)


class SeatData(vf.TaskData):  # type: ignore[misc]  # untyped base
    """A turn: the chat messages, and the game as :class:`redteam_env.bridges.Case` has it."""

    game: str


class SeatTurn(vf.Task[SeatData, vf.State, vf.TaskConfig]):  # type: ignore[misc]  # untyped base
    """One turn of a seat, in games of one exchange."""

    seat: SeatTask

    @vf.reward  # type: ignore[untyped-decorator]  # not seen by the type checker
    async def game_reward(self, trace: vf.Trace) -> float:
        """Return the seat's reward; 0 of a void game, whose reason is in ``trace.info``."""
        score = self.seat.score(self.data.game, trace.last_reply)
        trace.info["components"] = dict(score.components)
        if score.reward is None:
            trace.info["void"] = score.episode.void
            return 0.0
        return score.reward


class SeatTaskset(vf.Taskset[SeatTurn, SeatTasksetConfig]):  # type: ignore[misc]  # untyped base
    """The turns of a seat in so many games."""

    @cached_property
    def seat(self) -> SeatTask:
        """The seat."""
        return SeatTask(self.config.seat, **self.config.settings)

    def load(self) -> Iterator[SeatTurn]:
        """Yield the turns."""
        for case in self.seat.cases(self.config.games, seed=self.config.first):
            turn = SeatTurn(_data(case), self.config.task)
            turn.seat = self.seat
            yield turn


def _data(case: Case) -> SeatData:
    system, *rest = case.messages
    if system["role"] != "system":
        return SeatData(prompt=[dict(x) for x in case.messages], game=case.game)
    prompt = [dict(x) for x in rest]
    return SeatData(system_prompt=system["content"], prompt=prompt, game=case.game)
