"""What an evaluation suite offers: fixed requests, or questions with known answers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from redteam_env.protocols.agents import Agent, TurnRequest
from redteam_env.protocols.rollouts import GameSetup


@runtime_checkable
class RequestSuite(Protocol):
    """Games that every defender plays against the same attacker, harmful and benign ones.

    It may also have an attribute ``refusals``, texts that defenders trained for it refuse with: how
    probable one of them is, is then the score by which harmful requests are told from benign ones
    (:class:`~redteam_env.protocols.Scorer`).
    """

    @property
    def rewritten(self) -> bool:
        """Whether its requests are dressed up; false if they are seeds as they stand."""
        ...

    @property
    def setups(self) -> Sequence[GameSetup]:
        """The games."""
        ...

    def attacker(self) -> Agent:
        """Return who plays the attacker's seat in games that are rewritten."""
        ...


@runtime_checkable
class QuestionSuite(Protocol):
    """Questions with known answers, put to the defender's seat outside the game.

    A defender that answers less and less of what it could is no safer; this sees it.
    """

    @property
    def requests(self) -> Sequence[TurnRequest]:
        """The questions."""
        ...

    def right(self, k: int, text: str) -> bool:
        """Whether a text answers the k-th question."""
        ...


Suite = RequestSuite | QuestionSuite
