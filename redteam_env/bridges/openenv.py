"""The game behind OpenEnv's protocol: one seat, served to whoever reads it (TRL, Unsloth, ART, AgileRL).

``pip install 'redteam-env[bridges]'``
"""

from typing import Any

from fastapi import FastAPI
from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import Field

from redteam_env.bridges.cases import Case, SeatTask
from redteam_env.game import Episode, RedteamError


class SeatAction(Action):  # type: ignore[misc]  # untyped base
    """What the seat says."""

    message: str


class SeatObservation(Observation):  # type: ignore[misc]  # untyped base
    """What the seat is asked: chat messages; none once the game is over."""

    messages: list[dict[str, str]] = Field(default_factory=list)


class SeatEnvironment(Environment[SeatAction, SeatObservation, State]):  # type: ignore[misc]  # untyped base
    """One seat of the game; ``reset(seed)`` and ``step(SeatAction(message=...))``.

    The last observation is ``done`` and has the reward, with its parts in ``metadata``; that of a void
    game has none.

    Args:
        task: The seat.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, task: SeatTask) -> None:
        super().__init__()
        self._task = task
        self._drawn = 0
        self._at: Case | Episode | None = None
        self._state = State()

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **_: Any
    ) -> SeatObservation:
        """Start a game; without a seed the one after the last."""
        self._drawn = self._drawn + 1 if seed is None else seed
        self._at = self._task.cases(1, seed=self._drawn)[0]
        self._state = State(episode_id=episode_id, step_count=0)
        return self._seen()

    def step(
        self,
        action: SeatAction,
        timeout_s: float | None = None,  # noqa: ARG002 - OpenEnv's protocol
        **_: Any,
    ) -> SeatObservation:
        """Say something; the others answer until the seat is to move again or the game is over."""
        if not isinstance(self._at, Case):
            raise RedteamError("No game runs; call reset() first.")
        self._at = self._task.step([self._at], [action.message])[0]
        self._state.step_count += 1
        return self._seen()

    @property
    def state(self) -> State:
        """The number of the seat's turns so far."""
        return self._state

    def _seen(self) -> SeatObservation:
        if isinstance(self._at, Case):
            return SeatObservation(messages=[dict(x) for x in self._at.messages])
        assert self._at is not None  # noqa: S101 - its callers have played
        score = self._task.scored(self._at)
        told = {"components": dict(score.components), "void": self._at.void}
        return SeatObservation(done=True, reward=score.reward, metadata=told)


def app(task: SeatTask, *, sessions: int = 64) -> FastAPI:
    """Return a FastAPI application that serves a seat; run it with ``uvicorn.run(app(task), host="127.0.0.1")``.

    Args:
        task: The seat.
        sessions: Most clients at once.
    """
    return create_app(
        lambda: SeatEnvironment(task),
        SeatAction,
        SeatObservation,
        env_name="redteam",
        max_concurrent_envs=sessions,
    )
