"""PAIR: a model writes a message, sees what came of it, and writes a better one.

Chao et al., "Jailbreaking Black Box Large Language Models in Twenty Queries", arXiv 2310.08419, algorithm 1.
Simplified: the streams follow one another, so that a seed's search can end after any attempt; the game's own
judge scores; the model writes no rationale; one instruction in our own words in place of three.
"""

from dataclasses import dataclass
from typing import ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.attacks.texts import opening, told
from redteam_env.game import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(SearchAttack):
    """Refinement by a model.

    Attributes:
        depth: Attempts of one stream; then the model starts anew, without what it saw.
    """

    name: ClassVar[str] = "pair"
    asks_model: ClassVar[bool] = True

    depth: Count = 3

    def search(self, case: Case) -> Search:
        """Refine a message; where the model writes none, the last one is sent again."""
        message, chat = case.goal, opening("pair", case)
        while case.left:
            if len(case.episodes) % self.depth == 0:
                chat = opening("pair", case)
            message = (yield from case.ask(chat)) or message
            episode = yield from case.attempt(message)
            chat = [*chat, *told(message, episode)]
