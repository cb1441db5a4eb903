"""Functions in the place of agents and judges: the shortest way to write one."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redteam_env.border import calls
from redteam_env.game import Dialogue, Verdict
from redteam_env.protocols import Reply, TurnRequest

Answer = Callable[[Sequence[Mapping[str, str]]], Any]
"""From the chat messages of a turn to a text, or a :class:`~redteam_env.protocols.Reply`."""
Reading = Callable[[Dialogue], Verdict]
"""From a public dialogue to a verdict."""


class FunctionAgent:
    """An agent that asks a function for each answer.

    Args:
        function: Gets the chat messages of a turn and returns a text or a reply.
    """

    def __init__(self, function: Answer) -> None:
        self._function = function

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Ask it about each turn."""
        answers = [calls.finished(self._function(request.messages)) for request in requests]
        return [answer if isinstance(answer, Reply) else Reply(text=answer) for answer in answers]


class FunctionJudge:
    """A judge that asks a function about each dialogue.

    Args:
        function: Gets a public dialogue and returns a verdict.

    Attributes:
        name: The function's name.
    """

    smoke_only = False

    def __init__(self, function: Reading) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Ask it about each dialogue."""
        return [calls.finished(self._function(dialogue)) for dialogue in dialogues]


def as_agent(thing: Any) -> Any:
    """Return an agent that asks a function; what is no function as it is."""
    return FunctionAgent(thing) if _is_function(thing, "act") else thing


def as_judge(thing: Any) -> Any:
    """Return a judge that asks a function; what is no function as it is."""
    return FunctionJudge(thing) if _is_function(thing, "judge") else thing


def _is_function(thing: Any, method: str) -> bool:
    return callable(thing) and not inspect.isclass(thing) and not hasattr(thing, method)
