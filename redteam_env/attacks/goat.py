"""A conversation led by a model with a toolbox of approaches, as GOAT leads it.

Pavlova et al., "Automated Red Teaming with GOAT: the Generative Offensive Agent Tester", arXiv 2410.01606,
section 3: before each message the model observes, thinks, and chooses from the toolbox. Simplified: the
toolbox is eight approaches in a line each, in our own words; the model's reasoning is not kept in its chat;
nothing is taken back.
"""

from dataclasses import dataclass
from typing import ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.attacks.talking import converse
from redteam_env.attacks.texts import opening, text_of
from redteam_env.game import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Goat(SearchAttack):
    """A conversation with a toolbox.

    Attributes:
        turns: Most exchanges of a conversation.
    """

    name: ClassVar[str] = "goat"
    asks_model: ClassVar[bool] = True

    turns: Count = 5

    @property
    def exchanges(self) -> int:
        """Most exchanges of one attempt."""
        return self.turns

    def search(self, case: Case) -> Search:
        """Lead one conversation after the other."""
        while case.left:
            yield from converse(case, opening("goat", case, toolbox=text_of("toolbox")))
