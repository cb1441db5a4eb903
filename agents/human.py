"""A person at the terminal as an agent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel

from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, Reply, TurnRequest
from redteam_env.utils.text import safe_text


@dataclass(frozen=True, slots=True)
class HumanAgent:
    """Shows the messages of each request and reads one line as the answer.

    A copy shares the terminal; what is read back from a pickle has that of its own process.
    """

    console: Console = field(default_factory=Console)

    def __deepcopy__(self, memo: dict[int, Any]) -> "HumanAgent":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return HumanAgent, ()

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Ask the person for every request, in order.

        Raises:
            RedteamError: If the input ends.
        """
        return [Reply(text=self._ask(request)) for request in requests]

    def _ask(self, request: TurnRequest) -> str:
        for message in request.messages:
            self.console.print(Panel(safe_text(message["content"]), title=message["role"]))
        try:
            return self.console.input(f"{request.seat}> ", markup=False)
        except EOFError as error:
            raise RedteamError(
                f"The input ended before {request.seat} had answered; type one line for each turn."
            ) from error


def human(role: str) -> Agent:  # noqa: ARG001 - every agent factory takes the role
    """A person who types the answers."""
    return HumanAgent()
