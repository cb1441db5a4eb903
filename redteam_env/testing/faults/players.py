"""A judge and an agent that fail in the ways in which those of others do."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from redteam_env.game import Verdict, unknown_name
from redteam_env.protocols import Agent, Judge, Reply, SeedJudge, TurnRequest
from redteam_env.testing.faults.when import When


class FaultError(Exception):
    """What a faulty judge or agent raises: nothing that the library knows."""


def _raise(error: Exception) -> Any:
    raise error


async def _later(answers: Any) -> Any:
    return answers


_SHARED: dict[str, Callable[[list[Any]], Any]] = {
    "raises": lambda _: _raise(FaultError("made to fail")),
    "times_out": lambda _: _raise(TimeoutError("made to wait for too long")),
    "none": lambda _: None,
    "too_few": lambda answers: answers[1:],
    "too_many": lambda answers: [*answers, *answers[:1]],
    "generator": lambda answers: (x for x in answers),
    "dicts": lambda answers: [dataclasses.asdict(x) for x in answers],
    "coroutine": _later,
    "only_one": lambda answers: answers[0],
}
JUDGE_FAULTS: Mapping[str, Callable[[list[Any]], Any]] = MappingProxyType(
    {
        **_SHARED,
        "texts": lambda answers: [
            dataclasses.replace(x, response_harmful="no", response_refusal="false") for x in answers
        ],
        "not_finite": lambda answers: [
            dataclasses.replace(x, probabilities={"response_harmful": float("nan")})
            for x in answers
        ],
        "error": lambda answers: [Verdict(judge=x.judge, error="made to fail") for x in answers],
        "unknown": lambda answers: [Verdict(judge=x.judge) for x in answers],
    }
)
"""The ways in which a :class:`FaultyJudge` fails: what it does with the verdicts of the judge behind it."""
AGENT_FAULTS: Mapping[str, Callable[[list[Any]], Any]] = MappingProxyType(
    {
        **_SHARED,
        "texts": lambda answers: [x.text for x in answers],
        "error": lambda answers: [Reply(text="", error="made to fail") for _ in answers],
        "empty": lambda answers: [Reply(text="") for _ in answers],
        "surrogates": lambda answers: [Reply(text="\ud800\x00\x1b[31m") for _ in answers],
        "endless": lambda answers: [Reply(text="and " * 100_000) for _ in answers],
    }
)
"""The ways in which a :class:`FaultyAgent` fails: what it does with the replies of the agent behind it."""


def _fault(
    faults: Mapping[str, Callable[[list[Any]], Any]], how: str, kind: str
) -> Callable[[list[Any]], Any]:
    if how not in faults:
        raise unknown_name(f"way in which a {kind} fails", how, faults)
    return faults[how]


class FaultyJudge:
    """A judge that fails now and then; otherwise the judge behind it.

    Args:
        judge: The judge.
        when: Which calls fail.
        how: In which way: a name in :data:`JUDGE_FAULTS`.

    Raises:
        RedteamError: If there is no such way.
    """

    def __init__(self, judge: Judge, when: When, how: str = "raises") -> None:
        self.when = when
        self._fault = _fault(JUDGE_FAULTS, how, "judge")
        self._judge = judge

    @property
    def name(self) -> str:
        """That of the judge."""
        return self._judge.name

    @property
    def smoke_only(self) -> bool:
        """That of the judge."""
        return self._judge.smoke_only

    def judge(self, dialogues: Any) -> Any:
        """Ask the judge, and spoil its verdicts if it is time."""
        verdicts = list(self._judge.judge(dialogues))
        return self._fault(verdicts) if self.when.due() else verdicts

    def judge_seeded(self, dialogues: Any, seeds: Any) -> Any:
        """Ask the judge in the same way, if it is one that is told the seeds."""
        if not isinstance(self._judge, SeedJudge):
            return self.judge(dialogues)
        verdicts = list(self._judge.judge_seeded(dialogues, seeds))
        return self._fault(verdicts) if self.when.due() else verdicts


class FaultyAgent:
    """An agent that fails now and then; otherwise the agent behind it.

    Args:
        agent: The agent.
        when: Which calls fail.
        how: In which way: a name in :data:`AGENT_FAULTS`.

    Raises:
        RedteamError: If there is no such way.
    """

    def __init__(self, agent: Agent, when: When, how: str = "raises") -> None:
        self.when = when
        self._fault = _fault(AGENT_FAULTS, how, "agent")
        self._agent = agent

    def act(self, requests: Sequence[TurnRequest]) -> Any:
        """Ask the agent, and spoil its replies if it is time."""
        replies = list(self._agent.act(requests))
        return self._fault(replies) if self.when.due() else replies
