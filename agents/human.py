"""A person at the terminal as an agent."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel

from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, Reply, TurnRequest
from redteam_env.protocols.agents import PersonLeftError, TakenBackError
from redteam_env.utils.text import safe_text

END, QUIT, UNDO, RULES = ".", "/quit", "/undo", "/rules"
HOW = (
    f"Type a message of one or several lines; a line with a single dot, or Ctrl-D, ends it. {UNDO} takes "
    f"back what you typed, and if that is nothing, your last message in this game; {RULES} shows the "
    f"rules again; {QUIT} ends the session."
)


@dataclass(frozen=True, slots=True)
class HumanAgent:
    """Shows the messages of each request and reads lines as the answer.

    The answers to a game are kept until the next one begins: a game that is played again, because somebody
    took a message back, asks for what is new only. A copy shares the terminal; what is read back from a
    pickle has that of its own process.
    """

    console: Console = field(default_factory=Console)
    _answers: dict[tuple[Any, Any], str] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def __deepcopy__(self, memo: dict[int, Any]) -> "HumanAgent":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return HumanAgent, ()

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Ask the person for every request, in order.

        Raises:
            PersonLeftError: If the person ends the session.
            TakenBackError: If the person takes back the last message.
            RedteamError: If the input ends.
        """
        return [Reply(text=self._answer(request)) for request in requests]

    def _answer(self, request: TurnRequest) -> str:
        for game, path in list(self._answers):
            if game != request.game:
                del self._answers[game, path]
        place = (request.game, request.path)
        if place not in self._answers:
            self._answers[place] = self._ask(request)
        return self._answers[place]

    def _ask(self, request: TurnRequest) -> str:
        rules = "\n".join(x["content"] for x in request.messages if x["role"] == "system")
        if (request.seat, rules) not in self._told:  # an attacker's depend on the request's label
            self._told.add((request.seat, rules))
            self._show_rules(request)
        for message in request.messages:
            if message["role"] != "system":
                self.console.print(Panel(safe_text(message["content"]), title=message["role"]))
        while True:
            text = "\n".join(self._lines(request)).strip()
            if text:
                return text
            self.console.print("An empty message is not played.")

    def _lines(self, request: TurnRequest) -> Iterator[str]:
        """Yield the lines of a message; those that the person takes back are left out."""
        lines: list[str] = []
        asked = sys.stdin.isatty()  # what is piped ends no line on the screen
        while True:
            prompt = "... " if lines else f"{request.seat}> "
            try:
                line = self.console.input(prompt if asked else "", markup=False).rstrip()
            except EOFError as error:
                if not any(lines):
                    raise RedteamError(
                        f"The input ended before {request.seat} had answered; type one message for each "
                        f"turn, and a line with a single dot behind it."
                    ) from error
                if asked:
                    self.console.print()
                break
            if line == END:
                break
            if line == QUIT:
                raise PersonLeftError("The session was ended by the person at the terminal.")
            if line == RULES:
                self._show_rules(request)
            elif line == UNDO:
                self._take_back(request, lines)
            elif line or lines:  # a message does not begin with an empty line
                lines.append(line)
        yield from lines

    def _take_back(self, request: TurnRequest, lines: list[str]) -> None:
        """Forget the lines typed so far, or the last message."""
        if lines:
            lines.clear()
            self.console.print("Taken back; type the message again.")
        elif self._answers:
            self._answers.popitem()
            raise TakenBackError(f"{request.seat} took the last message back.")
        else:
            self.console.print("There is nothing to take back in this game.")

    def _show_rules(self, request: TurnRequest) -> None:
        for message in request.messages:
            if message["role"] == "system":
                self.console.print(Panel(safe_text(message["content"]), title="rules"))
        self.console.print(HOW)


def human(role: str) -> Agent:  # noqa: ARG001 - every agent factory takes the role
    """A person who types the answers."""
    return HumanAgent()
