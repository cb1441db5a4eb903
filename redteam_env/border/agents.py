"""Agents: what they answer, how probable they call it, what it took."""

from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.border.calls import (
    Games,
    Plugin,
    Read,
    attribute,
    call,
    each,
    game_name,
    games_of,
    method_of,
    nothing,
    record,
)
from redteam_env.border.functions import asked_by
from redteam_env.border.records import generation, real
from redteam_env.game import Generation
from redteam_env.game.values import Unfit, flag, number, optional, text
from redteam_env.protocols import Agent, Reply, TurnRequest, Usage

_REPLY: Mapping[str, Read[Any]] = {
    "text": text,
    "generation": optional(generation),
    "error": optional(text),
    "truncated": flag,
    "thought": text,
    "neutralised": flag,
}
_REPLIES = "a sequence of redteam_env.Reply, one for each request, in order"


def act(agent: Agent, requests: Sequence[TurnRequest]) -> list[Reply]:
    """Return an agent's replies, one for each request.

    Args:
        agent: Who is asked.
        requests: At least one; they name one and the same seat.

    Raises:
        RedteamError: If it raises, or returns anything else than as many replies as there are requests.
    """
    asked = list(requests)
    count = len(asked)
    asks, returns = asked_by(agent, _REPLIES)
    return call(
        Plugin(agent, f"agent of {asked[0].seat}", methods=False, asks=asks),
        "act",
        requests,
        returns=returns,
        read=lambda value: each(
            value, reply, noun="replies", count=count, to=f"to {count} requests"
        ),
        games=_games(asked),
    )


def reply(value: Any) -> Reply:
    """Return a reply."""
    if (
        type(value) is Reply
        and type(value.text) is type(value.thought) is str
        and type(value.truncated) is type(value.neutralised) is bool
        and value.generation is None
        and value.error is None
    ):
        return value
    return record(value, Reply, _REPLY)


def log_odds(agent: Any, requests: Sequence[TurnRequest], texts: Sequence[str]) -> list[float]:
    """Return the log-odds that an agent's answers begin as one of some texts does.

    Args:
        agent: A :class:`~redteam_env.protocols.Scorer`.
        requests: At least one.
        texts: The texts.

    Raises:
        RedteamError: If it raises, or returns anything else than a finite number for each request.
    """
    count = len(requests)
    return call(
        Plugin(agent, f"agent of {requests[0].seat}"),
        "log_odds",
        requests,
        texts,
        returns="a finite number for each request, in order",
        read=lambda value: each(
            _members(value), _odds, noun="numbers", count=count, to=f"to {count} requests"
        ),
        games=_games(list(requests)),
    )


def drafts(agent: Any, requests: Sequence[TurnRequest], *, max_new_tokens: int) -> list[Generation]:
    """Return what an agent would answer with another token limit.

    Args:
        agent: A :class:`~redteam_env.protocols.Drafter`.
        requests: At least one.
        max_new_tokens: The limit.

    Raises:
        RedteamError: If it raises, or returns anything else than a generation for each request.
    """
    count = len(requests)
    return call(
        Plugin(agent, f"agent of {requests[0].seat}"),
        "drafts",
        requests,
        max_new_tokens=max_new_tokens,
        returns="a redteam_env.Generation for each request, in order",
        read=lambda value: each(
            value, generation, noun="generations", count=count, to=f"to {count} requests"
        ),
        games=_games(list(requests)),
    )


def _members(value: Any) -> Any:
    """Return an array's numbers as a list; others as they are."""
    return value.tolist() if hasattr(value, "tolist") else value


def _odds(value: Any) -> float:
    try:
        return real(value)
    except Unfit as unfit:
        raise Unfit(f"gave log-odds of which one {unfit.came}", unfit.give) from None


def _games(requests: Sequence[TurnRequest]) -> Games:
    return games_of(
        lambda k: game_name(requests[k].game or requests[k].path, requests[k].seed), len(requests)
    )


def check_agent(agent: Any, what: str) -> Agent:
    """Return an agent if it has the method that its protocol asks for.

    Args:
        agent: The agent.
        what: What messages call it.

    Raises:
        RedteamError: If it has not.
    """
    method_of(Plugin(agent, what), "act")
    checked: Agent = agent
    return checked


def check_ready(thing: Any, what: str) -> None:
    """Call the optional method ``ready()`` of an agent or a judge; one without it is taken to be ready.

    A run calls this once at its start, so that a wrong address is one clear error there and not a
    thousand void games.

    Args:
        thing: The agent or judge.
        what: What messages call it.

    Raises:
        RedteamError: If it says that it does not work, or fails.
    """
    plugin = Plugin(thing, what)
    if callable(getattr(thing, "ready", None)):
        call(plugin, "ready", returns="nothing, or raises a RedteamError", read=nothing)


def facing(agent: Agent, agents: Mapping[str, Agent], what: str) -> Agent:
    """Return who plays in an agent's place, given who plays each seat: its optional method ``facing()``.

    Args:
        agent: The agent.
        agents: The agents of all seats.
        what: What messages call it.

    Raises:
        RedteamError: If the method raises, or returns no agent.
    """
    if not callable(getattr(agent, "facing", None)):
        return agent
    return call(
        Plugin(agent, what),
        "facing",
        dict(agents),
        returns="an agent (redteam_env.Agent)",
        read=lambda value: check_agent(value, what),
    )


_USAGE: Mapping[str, Read[Any]] = {
    "requests": number,
    "failed": number,
    "retries": number,
    "cut": number,
    "unmetered": number,
    "prompt_tokens": number,
    "completion_tokens": number,
    "cost": optional(number),
}


def usage_of(thing: Any, what: str) -> Usage | None:
    """Return what an agent or judge behind an API took so far; ``None`` if it does not count.

    Args:
        thing: The agent or judge.
        what: What messages call it.

    Raises:
        RedteamError: If a number of it is none.
    """

    def read(value: Any) -> Usage | None:
        return record(value, Usage, _USAGE) if isinstance(value, Usage) else None

    return attribute(Plugin(thing, what), "usage", read)
