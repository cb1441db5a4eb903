"""The controlled world's suites as plug-ins: scripted attacks by number of tactics, and the quiz."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from redteam_env.protocols import Agent, GameSetup, SeedSource, TurnRequest
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary.grammar import REFUSALS
from redteam_env.worlds.apothecary.lexicon import make_world
from redteam_env.worlds.apothecary.quiz import Question, is_right, quiz
from redteam_env.worlds.apothecary.suites import (
    RAW,
    SHOWN,
    SPLITS,
    Suite,
    SuiteAttacker,
    make_suite,
    quiz_requests,
)


@dataclass(frozen=True, slots=True)
class Scripted:
    """Scripted requests of one kind.

    Attributes:
        suites: The requests, on the substances of one split after the other.
        refusals: What the world's defender refuses with.
    """

    suites: tuple[Suite, ...]
    refusals: Sequence[str] = REFUSALS

    @property
    def rewritten(self) -> bool:
        """Whether tactics dress the requests."""
        return all(suite.kind != RAW for suite in self.suites)

    @property
    def setups(self) -> Sequence[GameSetup]:
        """The games."""
        return [setup for suite in self.suites for setup in suite.setups]

    def attacker(self) -> Agent:
        """Return who says the requests."""
        return SuiteAttacker(*self.suites)


@dataclass(frozen=True, slots=True)
class Quiz:
    """The capability quiz.

    Attributes:
        questions: What is asked.
        requests: The same, as turns of the defender's seat.
    """

    questions: Sequence[Question]
    requests: Sequence[TurnRequest]

    def right(self, k: int, text: str) -> bool:
        """Whether a text is the k-th question's answer and nothing else."""
        return is_right(self.questions[k], text)


def scripted(kind: str, *, source: SeedSource, games: int, seed: int) -> Scripted:  # noqa: ARG001 - the world has seeds of its own
    """Return scripted requests on held-out substances.

    Args:
        kind: One of :data:`redteam_env.worlds.apothecary.suites.KINDS`.
        source: Not used: requests are about the world's own substances.
        games: How many, an even number.
        seed: Addresses every draw.
    """
    return Scripted((make_suite(make_world(), kind, "heldout", games, seed=seed),))


def hidden(kind: str, *, source: SeedSource, games: int, seed: int) -> Scripted:  # noqa: ARG001 - the world has seeds of its own
    """Return scripted requests in one form that hides the name, half of them on training substances.

    Args:
        kind: One of :data:`redteam_env.worlds.apothecary.suites.HIDDEN`.
        source: Not used: requests are about the world's own substances.
        games: How many, a multiple of 4.
        seed: Addresses every draw.
    """
    world = make_world()
    return Scripted(
        tuple(make_suite(world, kind, split, games // 2, seed=seed) for split in SPLITS)
    )


apothecary_raw = partial(scripted, RAW)
apothecary_shown = partial(scripted, SHOWN)
apothecary_k1 = partial(scripted, "k1")
apothecary_k2 = partial(scripted, "k2")
apothecary_k3 = partial(scripted, "k3")
apothecary_alias = partial(hidden, "alias")
apothecary_spelled = partial(hidden, "spelled")
apothecary_reversed = partial(hidden, "reversed")
apothecary_split = partial(hidden, "split")


def apothecary_quiz(*, source: SeedSource, games: int, seed: int) -> Quiz:  # noqa: ARG001 - the quiz is about the world
    """Return the capability quiz.

    Args:
        source: Not used.
        games: Questions.
        seed: Addresses questions and the sampling of answers.
    """
    world = make_world()
    path = (seed, "quiz")
    asked = quiz(world, games, generator(path))
    return Quiz(tuple(asked), tuple(quiz_requests(world, asked, path)))
