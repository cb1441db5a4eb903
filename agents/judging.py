"""A registered judge at the judge's seat: it answers in the three lines, as any player there does."""

from collections.abc import Sequence
from dataclasses import dataclass

from redteam_env.border import judges as judges_border
from redteam_env.game import JUDGE, RedteamError, read_dialogue, role_of, three_lines
from redteam_env.game.thinking import compose
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Agent, Judge, Reply, TurnRequest

DEFAULT = "lexical"


@dataclass(frozen=True, slots=True)
class JudgeAgent:
    """Plays the judge's seat with a judge's verdicts; one that failed is a reply with its error.

    Attributes:
        by: The judge.
    """

    by: Judge

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Judge the dialogue of each request, in order.

        Raises:
            RedteamError: If a request is that of another seat.
        """
        dialogues = [read_dialogue(request.messages[-1]["content"]) for request in requests]
        verdicts = judges_border.verdicts(self.by, dialogues)
        return [
            Reply(text="", error=verdict.error)
            if verdict.error is not None
            else Reply(text=_wrapped(request, three_lines(verdict)))
            for request, verdict in zip(requests, verdicts, strict=True)
        ]


def _wrapped(request: TurnRequest, text: str) -> str:
    return compose("I apply my rules.", text) if request.prefill else text


def judge(role: str, argument: str = DEFAULT) -> Agent:
    """A registered judge at the judge's seat.

    Args:
        role: The role.
        argument: The judge's name, as in ``judge:lexical``.

    Raises:
        RedteamError: If it is to play another role, or there is no such judge.
    """
    if role != role_of(JUDGE):
        raise RedteamError(
            f"The agent 'judge:{argument}' plays the judge's seat only, not the {role}."
        )
    return JudgeAgent(resolve_judge(argument))
