"""Agents that stand in front of others: one of several for each game, or one that is asked once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from redteam_env.border.agents import facing, log_odds
from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, Reply, Scorer, TurnRequest
from redteam_env.randomness import Address
from redteam_env.rollout import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Lets one of several agents answer each request.

    Attributes:
        agents: The agents by name.
        choose: Names the agent that answers a request. The choice may depend on the request only,
            as a rule on its game, so that it is the same whatever else is asked in the same call.
    """

    agents: Mapping[str, Agent]
    choose: Callable[[TurnRequest], str]

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            RedteamError: If an agent breaks its protocol.
        """
        replies: dict[int, Reply] = {}
        for name, indices in self._places(requests).items():
            answers = ask(self.agents[name], [requests[k] for k in indices])
            replies |= zip(indices, answers, strict=True)
        return [replies[k] for k in range(len(requests))]

    def facing(self, agents: Mapping[str, Agent]) -> "Dispatcher":
        """Return the same with each of its agents facing the agents of all seats."""
        own = {x: facing(agent, agents, f"agent {x!r}") for x, agent in self.agents.items()}
        return replace(self, agents=own)

    def log_odds(self, requests: Sequence[TurnRequest], texts: Sequence[str]) -> list[float]:
        """Return the log-odds that the answer begins as one of some texts does, by who answers.

        Raises:
            RedteamError: If one of them is no :class:`~redteam_env.protocols.Scorer`.
        """
        odds: dict[int, float] = {}
        for name, indices in self._places(requests).items():
            agent = self.agents[name]
            if not isinstance(agent, Scorer):
                raise RedteamError(f"The agent {name!r} cannot say how probable its answers are.")
            found = log_odds(agent, [requests[k] for k in indices], texts)
            odds |= zip(indices, found, strict=True)
        return [odds[k] for k in range(len(requests))]

    def _places(self, requests: Sequence[TurnRequest]) -> dict[str, list[int]]:
        """Return the places of the requests that each agent answers."""
        places: dict[str, list[int]] = {}
        for k, request in enumerate(requests):
            places.setdefault(self.choose(request), []).append(k)
        return places


@dataclass(slots=True)
class MemoAgent:
    """Asks an agent once for each request and remembers the reply.

    A request's path addresses its randomness, so the same path with the same messages has the same
    answer; asking again would only cost time. With several exchanges the messages differ between
    opponents and later turns are asked for anew. An agent that prepares for its opponents answers each of
    them anew.

    Attributes:
        agent: Who is asked.
    """

    agent: Agent
    _replies: dict[tuple[Address, str], Reply] = field(default_factory=dict)

    def facing(self, agents: Mapping[str, Agent]) -> Agent:
        """Return this one, or the agent as it is once it knows its opponents."""
        prepared = facing(self.agent, agents, "agent behind a memo")
        return self if prepared is self.agent else prepared

    def recall(self, request: TurnRequest, reply: Reply) -> None:
        """Remember what the agent once answered."""
        self._replies[_key(request)] = reply

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            RedteamError: If the agent breaks its protocol.
        """
        keys = [_key(request) for request in requests]
        new = {k: x for k, x in zip(keys, requests, strict=True) if k not in self._replies}
        if new:
            self._replies |= zip(new, ask(self.agent, list(new.values())), strict=True)
        return [self._replies[key] for key in keys]


def _key(request: TurnRequest) -> tuple[Address, str]:
    return request.path, json.dumps(list(request.messages))
