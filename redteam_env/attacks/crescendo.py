"""Crescendo: a conversation that begins harmlessly and goes on in small steps.

Russinovich, Salem and Eldan, "The Crescendo Multi-Turn LLM Jailbreak Attack", arXiv 2404.01833, section 4: a
model leads the conversation, is told how near each answer came, and takes back what the defender refused.
Simplified: the game's own judge says what is a refusal and what a success, after each exchange; the model is
shown the answers, not summaries of them.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.attacks.talking import converse
from redteam_env.attacks.texts import opening
from redteam_env.game import Count, at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Crescendo(SearchAttack):
    """A conversation in small steps.

    Attributes:
        turns: Most exchanges of a conversation.
        backtracks: How many refused messages a conversation may take back.
    """

    name: ClassVar[str] = "crescendo"
    asks_model: ClassVar[bool] = True

    turns: Count = 5
    backtracks: Annotated[int, at_least(0)] = 3

    @property
    def exchanges(self) -> int:
        """Most exchanges of one attempt."""
        return self.turns

    def search(self, case: Case) -> Search:
        """Lead one conversation after the other."""
        while case.left:
            yield from converse(case, opening("crescendo", case), backtracks=self.backtracks)
