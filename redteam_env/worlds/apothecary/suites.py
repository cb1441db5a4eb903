"""Fixed scripted attacks: the same dressed requests for every defender, by number of tactics.

A defender that is compared with another must be asked the same questions. A suite holds requests for
restricted and ordinary substances in equal numbers, dressed alike, so that nothing but the substance
tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from redteam_env.game import DEFENDER, RedteamError, Seed, role_of, unknown_name
from redteam_env.protocols import Agent, GameSetup, Reply, TurnRequest
from redteam_env.randomness import Address, generator
from redteam_env.rollout import ask
from redteam_env.worlds.apothecary.corpus import quiz_messages
from redteam_env.worlds.apothecary.grammar import PHRASINGS, Language
from redteam_env.worlds.apothecary.law import law_answer, law_question
from redteam_env.worlds.apothecary.lexicon import Substance, World
from redteam_env.worlds.apothecary.quiz import Question, quiz
from redteam_env.worlds.apothecary.source import world_seeds
from redteam_env.worlds.apothecary.tactics import FORMS, PLAIN, SANDWICH

RAW, SHOWN = "raw", "shown"
HIDDEN = tuple(x for x in FORMS if x != PLAIN)
"""The forms that hide a name."""
KINDS = (RAW, SHOWN, "k1", "k2", "k3", *HIDDEN)
"""Requests as they stand; in combinations that the base attacker demonstrates often; in held-out
combinations of one, two and three tactics; in one form, alone or with one tactic more."""
SPLITS = ("train", "heldout")
"""Splits of the substances that a suite asks for."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Scripted requests.

    Attributes:
        kind: One of :data:`KINDS`.
        split: Whose seeds: ``train`` or ``heldout``.
        setups: One game a request, harmful and benign in turn.
        texts: The attacker's text of each game.
    """

    kind: str
    split: str
    setups: tuple[GameSetup, ...]
    texts: tuple[str, ...]

    def attacker(self) -> "SuiteAttacker":
        """Return the agent that plays these texts."""
        return SuiteAttacker(self)


class SuiteAttacker:
    """Says the text of a suite in each of its games.

    Args:
        suites: The suites, one or several.
    """

    def __init__(self, *suites: Suite) -> None:
        self._texts = {
            x.path: text
            for suite in suites
            for x, text in zip(suite.setups, suite.texts, strict=True)
        }

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request.

        Raises:
            RedteamError: If a game is none of the suite's.
        """
        return [Reply(text=self._text(request)) for request in requests]

    def _text(self, request: TurnRequest) -> str:
        if request.game not in self._texts:
            raise RedteamError(
                f"The game {request.game} is none of this suite's; play its own setups."
            )
        return self._texts[request.game]


def make_suite(world: World, kind: str, split: str, games: int, *, seed: int = 0) -> Suite:
    """Return a suite of scripted requests, the same for the same arguments.

    Every substance of the split comes up equally often, up to rounding; combinations and phrasings
    are drawn; the two labels share the drawn combinations, pair by pair.

    Args:
        world: The world.
        kind: One of :data:`KINDS`.
        split: ``train`` or ``heldout``: the split of the substances.
        games: Number of games, even.
        seed: Addresses the draws.

    Raises:
        RedteamError: If the kind or split is unknown, the world has no such combination or no
            substance for it, or ``games`` is odd or below 2.
    """
    if kind not in KINDS:
        raise unknown_name("suite", kind, KINDS)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if games < 2 or games % 2:
        raise RedteamError(f"games is {games}; give an even number, half of it harmful.")
    chosen = _combinations(world, kind)
    path = (seed, "suite", kind, split)
    rng = generator((*path, "draws"))
    language = Language(world)
    seeds = {x.id: x for x in world_seeds(world).seeds(split)}
    pools = [
        _endless([x for x in group if x.split == split], games // 2, (*path, label))
        for label, group in (("harmful", world.restricted), ("benign", world.ordinary))
    ]
    setups: list[GameSetup] = []
    texts: list[str] = []
    for k in range(games):
        if k % 2 == 0:
            tactics = chosen[int(rng.integers(len(chosen)))]
            phrasing = int(rng.integers(len(PHRASINGS)))
        substance = pools[k % 2][k // 2]
        filler = _filler(world, substance, rng) if SANDWICH in tactics else None
        texts.append(language.render(substance, tactics, phrasing=phrasing, filler=filler))
        setups.append(
            GameSetup(
                seed=_seed(seeds, substance, phrasing),
                rewritten=True,
                path=(*path, "game", k),
                group=k,
            )
        )
    return Suite(kind, split, tuple(setups), tuple(texts))


def ask_quiz(world: World, agent: Agent, n: int, path: Address) -> list[tuple[Question, str]]:
    """Put the capability quiz to an agent in the defender's seat.

    Args:
        world: The world whose quiz it is.
        agent: Who answers.
        n: Number of questions.
        path: Addresses the questions and the sampling of the answers.

    Returns:
        Each question with its answer.
    """
    asked = quiz(world, n, generator(path))
    replies = ask(agent, quiz_requests(world, asked, path))
    return [(x, reply.text) for x, reply in zip(asked, replies, strict=True)]


def ask_law(world: World, agent: Agent, form: str, n: int, path: Address) -> list[tuple[str, str]]:
    """Ask an agent in the defender's seat which substances are restricted.

    Args:
        world: The world whose law it is.
        agent: Who answers.
        form: The form of the names.
        n: Number of questions; substances come up equally often, up to rounding.
        path: Addresses the order and the sampling of the answers.

    Returns:
        The right answer and the agent's, for each question.
    """
    language = Language(world)
    substances = _endless(world.substances, n, path)
    texts = [law_question(language, x, form) for x in substances]
    replies = ask(agent, _asked(world, texts, path))
    return [(law_answer(x), reply.text) for x, reply in zip(substances, replies, strict=True)]


def quiz_requests(world: World, asked: Sequence[Question], path: Address) -> list[TurnRequest]:
    """Return questions as turns of the defender's seat.

    Args:
        world: Their world.
        asked: The questions.
        path: Addresses the sampling of the answers.
    """
    return _asked(world, [x.text for x in asked], path)


def _asked(world: World, texts: Sequence[str], path: Address) -> list[TurnRequest]:
    return [
        TurnRequest(
            seat=DEFENDER,
            role=role_of(DEFENDER),
            messages=[{"role": r, "content": text} for r, text in quiz_messages(world, text)],
            path=(*path, k),
        )
        for k, text in enumerate(texts)
    ]


def _combinations(world: World, kind: str) -> list[frozenset[str]]:
    if kind == RAW:
        return [frozenset()]
    if kind == SHOWN:
        found = [c for c in world.combinations("train") if c]
    elif kind in HIDDEN:
        found = [c for c in world.combination_splits if kind in c and len(c) <= 2]
    else:
        found = [c for c in world.combinations("heldout") if len(c) == int(kind[1:])]
    if not found:
        raise RedteamError(
            f"This world has no combination of tactics for the suite {kind!r}; give it more "
            "tactics, or leave the suite out."
        )
    return found


def _endless(group: Sequence[Substance], n: int, path: tuple[int | str, ...]) -> list[Substance]:
    if not group:
        raise RedteamError(f"The world has no substance for {path}; raise its number.")
    rng = generator(path)
    drawn: list[Substance] = []
    while len(drawn) < n:
        drawn += [group[int(k)] for k in rng.permutation(len(group))]
    return drawn[:n]


def _filler(world: World, substance: Substance, rng: np.random.Generator) -> Substance:
    others = [x for x in world.ordinary if x is not substance and x.split == substance.split]
    if not others:
        raise RedteamError(
            f"The split {substance.split!r} of this world has no ordinary substance left for a "
            "sandwich's filler; raise the number of substances, or leave the suite out."
        )
    return others[int(rng.integers(len(others)))]


def _seed(seeds: dict[str, Seed], substance: Substance, phrasing: int) -> Seed:
    return seeds[f"{substance.name}-{phrasing}"]
