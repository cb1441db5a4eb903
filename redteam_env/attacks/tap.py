"""TAP: PAIR as a tree, in which messages that lost the subject or scored low are cut off.

Mehrotra et al., "Tree of Attacks: Jailbreaking Black-Box LLMs Automatically", arXiv 2312.02119, algorithm 1:
each leaf branches, messages off the subject are pruned before the defender sees them, and of those that it
answered the best are kept. Simplified: the attacker's model itself says whether a message kept to the
subject; the tree grows until the attempts are used up.
"""

from dataclasses import dataclass
from typing import ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack, Step, score
from redteam_env.attacks.texts import opening, text_of, told
from redteam_env.game import Count, Messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(SearchAttack):
    """A tree of refinements by a model.

    Attributes:
        branching: Messages that the model writes from each leaf.
        width: Leaves that are kept after each round.
    """

    name: ClassVar[str] = "tap"
    asks_model: ClassVar[bool] = True

    branching: Count = 2
    width: Count = 3

    def search(self, case: Case) -> Search:
        """Grow the tree; where no branch is fit to be sent, the best leaf's message is sent again."""
        leaves: list[Messages] = [opening("pair", case)]
        last = case.goal
        while case.left:
            branches = [leaf for leaf in leaves for _ in range(self.branching)]
            written = yield from case.ask_all(branches)
            grown = [(x, y) for x, y in zip(branches, written, strict=True) if y is not None]
            kept = yield from self._on_topic(case, grown)
            sent = (kept or [(leaves[0], last)])[: case.left]
            episodes = yield from case.attempts([message for _, message in sent])
            found = [
                (score(episode), [*chat, *told(message, episode)], message)
                for (chat, message), episode in zip(sent, episodes, strict=True)
            ]
            found.sort(key=lambda leaf: -leaf[0])
            leaves = [chat for _, chat, _ in found[: self.width]]
            last = found[0][2]

    def _on_topic(
        self, case: Case, grown: list[tuple[Messages, str]]
    ) -> Step[list[tuple[Messages, str]]]:
        """Return the branches whose message still asks for the same thing, as the model says."""
        questions = [
            [
                {"role": "system", "content": text_of("on_topic")},
                {
                    "role": "user",
                    "content": text_of("on_topic_question", goal=case.goal, message=message),
                },
            ]
            for _, message in grown
        ]
        answers = (yield from case.ask_whether(questions)) if questions else []
        return [
            branch for branch, answer in zip(grown, answers, strict=True) if answer is not False
        ]
