"""What the base model is pretrained on: demonstrations of an attacker, a defender and the quiz.

Every demonstration is a chat of the game, with the game's own instruction texts. The attacker
dresses its seed in a combination it was given to demonstrate; the defender serves ordinary requests
and refuses restricted ones less often the more tactics there are, so that tactics work and there is
something to defend against; a text without meaning is answered with a question.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np

from redteam_env.game import Prompts, load_prompts
from redteam_env.game.prompts import SEED_SLOT
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary.grammar import (
    PHRASINGS,
    REFUSALS,
    TAKE,
    UNCLEAR,
    Language,
    answer,
    vocabulary,
)
from redteam_env.worlds.apothecary.law import LAW_OPENINGS, LAW_WORDS, law_answer, law_question
from redteam_env.worlds.apothecary.lexicon import Substance, World
from redteam_env.worlds.apothecary.quiz import QUIZ_OPENINGS, question, quiz_vocabulary
from redteam_env.worlds.apothecary.tactics import FORM, FORMS, FRAME, PLAIN, SANDWICH, TACTICS

ATTACKER_SHARE, DEFENDER_SHARE, LAW_SHARE = 0.33, 0.38, 0.12
"""Shares of the corpus; the quiz has the rest."""

PLAIN_SHARE, HIDDEN_SHARE, UNCLEAR_SHARE = 0.3, 0.35, 0.03
"""Of the defender's demonstrations: plain requests; dressed ones with a hidden name, among the
dressed; texts without meaning."""

STACKED_SHARE = 0.05
"""Dressed requests to the defender with one more frame and one more suffix."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A supervised example.

    Attributes:
        kind: ``attacker``, ``defender``, ``law`` or ``quiz``.
        messages: The chat that the model is prompted with: pairs of role and content.
        response: What it should say.
    """

    kind: str
    messages: tuple[tuple[str, str], ...]
    response: str


def prompts_directory(*, coupled: bool = False) -> str:
    """Return the folder of the world's instruction texts, for the game's option ``prompts``."""
    name = "prompts_coupled" if coupled else "prompts"
    return str(resources.files(__package__) / name)


def world_prompts(world: World) -> Prompts:
    """Return the instruction texts of a world."""
    return load_prompts(prompts_directory(coupled=world.config.coupled))


def quiz_messages(world: World, text: str) -> tuple[tuple[str, str], ...]:
    """Return the chat of a quiz question: it is put to the defender, the assistant of the game."""
    rules = world_prompts(world).rules("defender", harmful=False, must_think=False)
    return (("system", rules), ("user", text))


def all_words(world: World) -> tuple[str, ...]:
    """Return every word that a model of this world reads or writes, sorted."""
    words = {*vocabulary(world), *quiz_vocabulary(), *LAW_WORDS}
    for text in world_prompts(world).texts.values():
        words |= set(text.replace(SEED_SLOT, "").split())
    return tuple(sorted(words))


def opening_words(world: World) -> tuple[str, ...]:
    """Return every word that a message of the corpus may begin with, sorted."""
    texts = [
        *REFUSALS,
        UNCLEAR,
        TAKE,
        *QUIZ_OPENINGS,
        *LAW_OPENINGS,
        *world_prompts(world).texts.values(),
    ]
    words = {text.split()[0] for text in texts} | {phrasing[0] for phrasing in PHRASINGS}
    words |= {x.words[0] for x in TACTICS.values() if x.kind == FRAME}
    return tuple(sorted(words - {SEED_SLOT}))


class Corpus:
    """Draws demonstrations of one world.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.language = Language(world)
        self._prompts = world_prompts(world)
        config = world.config
        shown = [c for c in world.combinations("train") if c]
        rare = [c for c in world.combinations("heldout") if c & set(config.rare)]
        self._shown = _Weighted(shown, [_commonness(c) for c in shown])
        self._rare = _Weighted(rare, [_commonness(c) for c in rare])
        every = [c for c in world.combination_splits if c]
        hidden = [c for c in every if c & set(FORMS)]
        open_ = [c for c in every if not c & set(FORMS)]
        self._hidden = _Weighted(hidden, [_commonness(c) for c in hidden])
        self._open = _Weighted(open_, [_commonness(c) for c in open_])
        self._words = all_words(world)

    def demonstrations(
        self, path: tuple[int | str, ...], *, rare_share: float | None = None
    ) -> Iterator[Demonstration]:
        """Return an endless stream of demonstrations, the same for the same path.

        Args:
            path: Addresses the draws.
            rare_share: Share of the attacker's with a rare tactic; by default the world's own.
        """
        rng = generator(path)
        while True:
            place = rng.random()
            if place < ATTACKER_SHARE:
                yield self.attacker(rng, rare_share=rare_share)
            elif place < ATTACKER_SHARE + DEFENDER_SHARE:
                yield self.defender(rng)
            elif place < ATTACKER_SHARE + DEFENDER_SHARE + LAW_SHARE:
                yield self.law(rng)
            else:
                asked = question(self.world, rng, heldout=False)
                yield Demonstration("quiz", quiz_messages(self.world, asked.text), asked.answer)

    def attacker(
        self, rng: np.random.Generator, *, rare_share: float | None = None
    ) -> Demonstration:
        """Draw a demonstration of the attacker: a seed and its rewrite, or a refusal to rewrite."""
        substance = self._substance(rng)
        phrasing = int(rng.integers(len(PHRASINGS)))
        seed = self.language.request(substance, phrasing)
        rules = self._prompts.rules("attacker", harmful=substance.restricted, must_think=False)
        messages = (("system", rules), ("user", self._prompts.request(seed)))
        config = self.world.config
        if config.coupled and substance.restricted and rng.random() < config.attacker_refusal:
            return Demonstration("attacker", messages, _refusal(rng))
        tactics = self.attack(rng, rare_share=rare_share)
        return Demonstration("attacker", messages, self._dressed(substance, tactics, phrasing, rng))

    def attack(
        self, rng: np.random.Generator, *, rare_share: float | None = None
    ) -> frozenset[str]:
        """Draw the combination of tactics of one of the attacker's demonstrations."""
        share = self.world.config.rare_share if rare_share is None else rare_share
        rare = bool(self._rare) and rng.random() < share
        return (self._rare if rare else self._shown).draw(rng)

    def refuses(self, restricted: bool, tactics: frozenset[str], rng: np.random.Generator) -> bool:
        """Draw whether the base defender refuses a request.

        Args:
            restricted: Whether it asks for something restricted.
            tactics: How it is dressed.
            rng: Where it is drawn from.
        """
        either = self.world.config.hidden_refusal is not None and bool(tactics & set(FORMS))
        return (restricted or either) and rng.random() < self.refusal_rate(tactics)

    def defender(self, rng: np.random.Generator) -> Demonstration:
        """Draw a demonstration of the defender: a request and its answer or refusal."""
        rules = self._prompts.rules("defender", harmful=False, must_think=False)
        if rng.random() < UNCLEAR_SHARE:
            return Demonstration(
                "defender", (("system", rules), ("user", self._meaningless(rng))), UNCLEAR
            )
        substance = self._substance(rng)
        tactics: frozenset[str] = frozenset()
        if rng.random() >= PLAIN_SHARE:
            hidden = bool(self._hidden) and rng.random() < HIDDEN_SHARE
            tactics = (self._hidden if hidden or not self._open else self._open).draw(rng)
            if self._open and rng.random() < STACKED_SHARE:
                more = self._open.draw(rng)
                tactics |= {x for x in more if x != SANDWICH}
        text = self._dressed(substance, tactics, int(rng.integers(len(PHRASINGS))), rng)
        found = self.language.decode(text)
        assert found is not None  # noqa: S101 - what the language renders it reads
        refuses = self.refuses(found.restricted, tactics, rng)
        response = _refusal(rng) if refuses else answer(found.asked)
        return Demonstration("defender", (("system", rules), ("user", text)), response)

    def lesson(self, substance: Substance, form: str, rng: np.random.Generator) -> Demonstration:
        """Return what a defender that reads every form says to a request for a substance.

        Args:
            substance: What is asked for.
            form: The form of its name.
            rng: Draws phrasing and refusal.
        """
        rules = self._prompts.rules("defender", harmful=False, must_think=False)
        tactics = () if form == PLAIN else (form,)
        text = self.language.render(substance, tactics, phrasing=int(rng.integers(len(PHRASINGS))))
        response = _refusal(rng) if substance.restricted else answer([substance])
        return Demonstration("defender", (("system", rules), ("user", text)), response)

    def law(self, rng: np.random.Generator) -> Demonstration:
        """Draw a question of the law: whether a substance, in any form of its name, is restricted."""
        substance = self._substance(rng)
        forms = [x for x in FORMS if x in (PLAIN, *self.world.config.tactics)]
        asked = law_question(self.language, substance, forms[int(rng.integers(len(forms)))])
        return Demonstration("law", quiz_messages(self.world, asked), law_answer(substance))

    def refusal_rate(self, tactics: frozenset[str]) -> float:
        """Return how often the base defender refuses a restricted request in this dress."""
        hidden = self.world.config.hidden_refusal
        if hidden is not None and tactics & set(FORMS):
            return hidden
        factors = self.world.config.factors
        return self.world.config.refusal * float(np.prod([factors[x] for x in sorted(tactics)]))

    def _dressed(
        self,
        substance: Substance,
        tactics: frozenset[str],
        phrasing: int,
        rng: np.random.Generator,
    ) -> str:
        filler = None
        if SANDWICH in tactics:
            others = [x for x in self.world.ordinary if x is not substance]
            filler = others[rng.integers(len(others))]
        return self.language.render(substance, tactics, phrasing=phrasing, filler=filler)

    def _substance(self, rng: np.random.Generator) -> Substance:
        pool = self.world.restricted if rng.random() < 0.5 else self.world.ordinary
        return pool[rng.integers(len(pool))]

    def _meaningless(self, rng: np.random.Generator) -> str:
        """Draw words at random, or scramble a request."""
        while True:
            if rng.random() < 0.5:
                n = int(rng.integers(1, 12))
                words = [self._words[k] for k in rng.integers(len(self._words), size=n)]
            else:
                words = self.language.request(self._substance(rng)).split()
                rng.shuffle(words)
            text = " ".join(words)
            if self.language.decode(text) is None:
                return text


class _Weighted:
    """Draws from a list with fixed weights."""

    def __init__(self, items: list[frozenset[str]], weights: list[float]) -> None:
        self._items = items
        total = np.cumsum(weights) if items else np.zeros(0)
        self._edges = total / total[-1] if items else total

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, rng: np.random.Generator) -> frozenset[str]:
        return self._items[int(np.searchsorted(self._edges, rng.random(), side="right"))]


def _commonness(tactics: frozenset[str]) -> float:
    """Weight of a combination: each tactic beyond a form makes it 2.5 times rarer."""
    extra = sum(1 for x in tactics if TACTICS[x].kind != FORM)
    return float(2.5**-extra)


def _refusal(rng: np.random.Generator) -> str:
    return REFUSALS[rng.integers(len(REFUSALS))]
