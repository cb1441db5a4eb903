"""Best-of-N: the request again and again, each time with random small changes of its letters.

Hughes et al., "Best-of-N Jailbreaking", arXiv 2412.03556, section 2: the letters inside words are shuffled,
capitals are set at random and letters are replaced by their neighbours in the ASCII table, each with a
probability that one strength sets; the first harmful answer counts. Simplified: text only, and the three
changes always act together.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.game import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(SearchAttack):
    """Random changes of the request.

    Attributes:
        sigma: How strong they are: the share of words that are shuffled is its square root, that of
            letters with another case the same, that of letters that are replaced its cube.
    """

    name: ClassVar[str] = "best_of_n"

    sigma: Share = 0.4

    def search(self, case: Case) -> Search:
        """Send changed requests until one succeeds."""
        while case.left:
            yield from case.attempt(changed(case.goal, self.sigma, case.rng))


def changed(text: str, sigma: float, rng: np.random.Generator) -> str:
    """Return a text with random small changes.

    Args:
        text: The text.
        sigma: How strong they are.
        rng: Where they come from.
    """
    words = [
        _shuffled(word, rng) if rng.random() < sigma**0.5 else word for word in text.split(" ")
    ]
    letters = list(" ".join(words))
    for k, letter in enumerate(letters):
        if letter.isalpha() and rng.random() < sigma**0.5:
            letters[k] = letter.swapcase() if len(letter.swapcase()) == 1 else letter
    for k, letter in enumerate(letters):
        if letter.isascii() and letter.isprintable() and rng.random() < sigma**3:
            moved = ord(letter) + (1 if rng.random() < 0.5 else -1)
            letters[k] = chr(moved) if chr(moved).isprintable() else letter
    return "".join(letters)


def _shuffled(word: str, rng: np.random.Generator) -> str:
    """Return a word whose inner letters are in another order."""
    if len(word) < 4:
        return word
    return word[0] + "".join(rng.permutation(list(word[1:-1]))) + word[-1]
