"""Functions in the place of agents and judges: the shortest way to write one."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redteam_env.border import calls
from redteam_env.game import Dialogue, RedteamError, Verdict
from redteam_env.game.values import Unfit, shown, told
from redteam_env.protocols import Reply, TurnRequest

Answer = Callable[[Sequence[Mapping[str, str]]], Any]
"""From the chat messages of a turn to a text, or a :class:`~redteam_env.protocols.Reply`."""
Reading = Callable[[Dialogue], Verdict]
"""From a public dialogue to a verdict."""


class FunctionAgent:
    """An agent that asks a function for each answer.

    Args:
        function: Gets the chat messages of a turn and returns a text or a reply.

    Attributes:
        asks: What messages call the function.
        returns: What it returns, in words.
    """

    returns = "a text for the chat messages of one turn"

    def __init__(self, function: Answer) -> None:
        self._function = function
        self.asks = f"agent function {_name(function)}"

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Ask it about each turn."""
        answers = _answers(self._function, [x.messages for x in requests], (str, Reply))
        return [answer if isinstance(answer, Reply) else Reply(text=answer) for answer in answers]


class FunctionJudge:
    """A judge that asks a function about each dialogue.

    Args:
        function: Gets a public dialogue and returns a verdict.

    Attributes:
        name: The function's name.
        asks: What messages call the function.
        returns: What it returns, in words.
    """

    smoke_only = False
    returns = "one redteam_env.Verdict for one redteam_env.Dialogue"

    def __init__(self, function: Reading) -> None:
        self._function = function
        self.name = _name(function)
        self.asks = f"judge function {self.name}"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Ask it about each dialogue."""
        return _answers(self._function, dialogues, Verdict)


def as_agent(thing: Any) -> Any:
    """Return an agent that asks a function; what is no function as it is."""
    return FunctionAgent(thing) if _is_function(thing, "act") else thing


def as_judge(thing: Any) -> Any:
    """Return a judge that asks a function, or one of a class that needs nothing; anything else as it is.

    Raises:
        RedteamError: If a class cannot be called without arguments, or raises.
    """
    if inspect.isclass(thing):
        return _made(thing)
    return FunctionJudge(thing) if _is_function(thing, "judge") else thing


def code_of(thing: Any) -> Any:
    """Return the function or class that something is or is made of."""
    return thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)


def asked_by(thing: Any, returns: str) -> tuple[str, str]:
    """Return what messages call the function that an agent or a judge asks, and what that returns.

    Args:
        thing: The agent or judge.
        returns: What its method returns, in words, if it asks none.
    """
    if isinstance(thing, FunctionAgent | FunctionJudge):
        return thing.asks, thing.returns
    return "", returns


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _answers(
    function: Callable[[Any], Any],
    questions: Sequence[Any],
    kind: type[Any] | tuple[type[Any], ...],
) -> list[Any]:
    """Return what a function answers to each of several questions.

    Raises:
        Unfit: If one is of another kind, with its place.
    """
    found: list[Any] = []
    for question in questions:
        answer = calls.finished(function(question))
        if not isinstance(answer, kind):
            raise Unfit(f"returned {shown(answer)}", "", place=len(found))
        found.append(answer)
    return found


def _made(kind: type[Any]) -> Any:
    name = kind.__name__
    cure = f"give a judge that is made, as in judge={name}(...)"
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise RedteamError(
            f"judge is the class {name}, which is not made without arguments ({error}); {cure}."
        ) from None
    except ValueError:  # some classes of C tell nothing
        pass
    try:
        return kind()
    except BaseException as error:
        if calls.passes(error):
            raise
        raise RedteamError(
            f"judge is the class {name}, which cannot be made ({told(error)}); {cure}."
        ) from error


def _is_function(thing: Any, method: str) -> bool:
    return callable(thing) and not inspect.isclass(thing) and not hasattr(thing, method)
