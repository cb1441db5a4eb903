"""Playing either PettingZoo face in the same way, so that one check serves both."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pettingzoo.utils.env import AECEnv, ParallelEnv  # type: ignore[import-untyped]  # no py.typed

from redteam_env.border.judges import verdicts
from redteam_env.envs.session import Session
from redteam_env.game import Dialogue, Episode, RedteamError, Seed, Verdict
from redteam_env.protocols import Judge, Reply

DECOY = "decoyfromaseatthatisnottomove"


class Listener:
    """A judge that remembers what it was asked; otherwise the judge it stands before."""

    def __init__(self, judge: Judge) -> None:
        self.name = judge.name
        self.smoke_only = judge.smoke_only
        self.content = getattr(judge, "content", None)
        self.heard: list[Dialogue] = []
        self._judge = judge

    def judge(self, dialogues: Sequence[Dialogue]) -> Sequence[Verdict]:
        """Ask the judge."""
        self.heard += dialogues
        return verdicts(self._judge, dialogues)

    def judge_seeded(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]
    ) -> Sequence[Verdict]:
        """Ask the judge, which may be one that is told the seeds."""
        self.heard += dialogues
        return verdicts(self._judge, dialogues, seeds=seeds)


class Driver:
    """One environment, AEC or parallel, with a listener before its judge.

    Attributes:
        env: The environment as the user made it.
        parallel: Whether it is a parallel one.
        session: The game behind it.
        listener: The judge it asks.
        earned: What each seat earned in the game so far.
    """

    def __init__(self, env: Any) -> None:
        if not isinstance(env, AECEnv | ParallelEnv):
            raise RedteamError(
                f"The factory returned {type(env).__name__}; check_game takes a PettingZoo AECEnv "
                "or ParallelEnv."
            )
        session = getattr(env.unwrapped, "session", None)
        if not isinstance(session, Session):
            raise RedteamError(
                f"{type(env.unwrapped).__name__} has no session; check_game takes environments "
                "built on redteam_env.envs.RedTeamAEC or RedTeamParallel."
            )
        self.env = env
        self.parallel = isinstance(env, ParallelEnv)
        self.session = session
        self.listener = Listener(session.judge)
        session.judge = self.listener
        self.earned: dict[str, float] = {}
        self._seen: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    @property
    def seats(self) -> list[str]:
        """All seats."""
        return list(self.env.possible_agents)

    @property
    def episode(self) -> Episode | None:
        """The finished game."""
        episode: Episode | None = self.env.unwrapped.episode
        return episode

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Start a game."""
        self.listener.heard.clear()
        self.earned = dict.fromkeys(self.seats, 0.0)
        result = self.env.reset(seed=seed, options=None if options is None else dict(options))
        self._look(result if self.parallel else None)

    @property
    def to_move(self) -> str | None:
        """The seat to move as the face tells it, or ``None`` after the end."""
        seat: str | None
        if self.parallel:
            seat = self.info(self.seats[0]).get("to_move")
        else:
            selected = self.env.agent_selection
            seat = None if self.env.terminations[selected] else selected
        return seat

    def observation(self, seat: str) -> Any:
        """What a seat saw last."""
        return self._seen[0][seat]

    def info(self, seat: str) -> dict[str, Any]:
        """The info a seat got last."""
        info: dict[str, Any] = self._seen[1][seat]
        return info

    def view(self, seat: str) -> str:
        """Everything a seat got last, as text in which a marker can be looked for."""
        return json.dumps([self.observation(seat), self.info(seat)], default=repr)

    def act(self, text: str | Reply) -> None:
        """Let the seat to move act; in the parallel face all others say something too."""
        seat = self.to_move
        if self.parallel:
            actions = {other: text if other == seat else DECOY for other in self.env.agents}
            observations, rewards, _, _, infos = self.env.step(actions)
            self._look((observations, infos))
        else:
            self.env.step(text)
            rewards = self.env.rewards
            self._look(None)
        for other, reward in rewards.items():
            self.earned[other] += float(reward)

    def _look(self, result: Any) -> None:
        if result is None:
            observations = {seat: self.env.observe(seat) for seat in self.seats}
            result = (observations, {seat: self.env.infos[seat] for seat in self.seats})
        self._seen = copy.deepcopy(result)
