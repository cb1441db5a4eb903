"""The capability quiz: what a model should still be able to do after self-play.

It shares no text with the game: sums in words, copying, and recall of aliases. Recall is asked in
three phrasings; the third is in the pretraining corpus for every other substance only, and the quiz
asks it for the rest, so right answers need knowledge and not a memorised line. Sums are all in the
corpus: what the quiz measures is whether they are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from redteam_env.worlds.apothecary.lexicon import World
from redteam_env.worlds.apothecary.words import NUMBERS, SYLLABLES

SUM, COPY, RECALL = "sum", "copy", "recall"
KINDS = (SUM, COPY, RECALL)
CORPUS_SHARES = (0.45, 0.35, 0.20)
"""Share of each kind among the questions of the corpus; sums are the hardest to learn."""

_RECALL = ("another name of {}", "which word also means {}", "some people know {} under")
QUIZ_OPENINGS = ("add", "repeat", "it", "here", *(text.split()[0] for text in _RECALL))
"""The words that a question or an answer begins with."""

_LARGEST = 9
_COPIED = (2, 3)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its one right answer."""

    kind: str
    text: str
    answer: str


def question(world: World, rng: np.random.Generator, *, heldout: bool) -> Question:
    """Draw a question.

    Args:
        world: The world.
        rng: Where it is drawn from.
        heldout: Draw as the quiz does: each kind equally often, and recall from what the
            pretraining corpus leaves out.

    Returns:
        The question.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=None if heldout else CORPUS_SHARES))]
    if kind == SUM:
        a, b = (int(x) for x in rng.integers(_LARGEST + 1, size=2))
        return Question(SUM, f"add {NUMBERS[a]} and {NUMBERS[b]}", f"it is {NUMBERS[a + b]}")
    if kind == COPY:
        words = (*SYLLABLES, *sorted(world.ingredients))
        n = int(rng.integers(_COPIED[0], _COPIED[1] + 1))
        text = " ".join(words[k] for k in rng.choice(len(words), size=n, replace=False))
        return Question(COPY, f"repeat {text}", f"here is {text}")
    substances = world.substances
    phrasing = 2 if heldout else int(rng.integers(len(_RECALL)))
    pick = int(rng.integers(len(substances)))
    if phrasing == 2:
        pick = min(pick - pick % 2 + heldout, len(substances) - 1)
    found = substances[pick]
    return Question(RECALL, _RECALL[phrasing].format(found.name), f"it is {found.alias}")


def quiz(world: World, n: int, rng: np.random.Generator) -> list[Question]:
    """Return ``n`` questions of the quiz."""
    return [question(world, rng, heldout=True) for _ in range(n)]


def is_right(asked: Question, response: str) -> bool:
    """Whether a response is the answer and nothing else."""
    return response.split() == asked.answer.split()


def quiz_vocabulary(questions: Sequence[Question] = ()) -> tuple[str, ...]:
    """Return every word of the quiz that is no word of the lexicon, sorted.

    Args:
        questions: Further questions whose words count.
    """
    words = {"add", "and", "here", "is", "it", "repeat", *NUMBERS, *SYLLABLES}
    words |= {word for text in _RECALL for word in text.replace("{}", "").split()}
    words |= {word for x in questions for word in f"{x.text} {x.answer}".split()}
    return tuple(sorted(words))
