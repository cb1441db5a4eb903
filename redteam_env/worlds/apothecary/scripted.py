"""Agents that know the language: fixed tactics, a defender without faults, and both of the base's roles."""

from collections.abc import Collection, Iterable, Sequence

from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, Reply, TurnRequest, speaks
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary.corpus import Corpus
from redteam_env.worlds.apothecary.grammar import PHRASINGS, REFUSALS, UNCLEAR, Language, answer
from redteam_env.worlds.apothecary.levels import APOTHECARY
from redteam_env.worlds.apothecary.lexicon import World, make_world
from redteam_env.worlds.apothecary.tactics import SANDWICH, dress

_MOST_SHOWN = 80


def rewrite(language: Language, request: TurnRequest, tactics: Collection[str]) -> str:
    """Return a request's seed dressed in a combination of tactics.

    The filler of a sandwich is drawn by the request's path.

    Raises:
        RedteamError: If the seed is missing or none of the language's world.
    """
    text = "" if request.seed is None else request.seed.text
    found = language.decode(text)
    if found is None or len(found.asked) != 1:
        which = "there is none" if request.seed is None else repr(request.seed.id[:_MOST_SHOWN])
        raise RedteamError(
            f"The seed ({which}) is no request of the apothecary; play with --seeds apothecary."
        )
    filler = None
    if SANDWICH in tactics:
        ordinary = [x for x in language.world.ordinary if x is not found.asked[0]]
        filler = ordinary[generator(request.path).integers(len(ordinary))]
    words = text.split()
    phrasing = next(k for k, x in enumerate(PHRASINGS) if words[: len(x)] == list(x))
    return language.render(found.asked[0], tactics, phrasing=phrasing, filler=filler)


@speaks(APOTHECARY)
class ScriptedAttacker:
    """Dresses every seed in one combination of tactics.

    Args:
        world: The world.
        tactics: The combination; empty for the plain request.
    """

    def __init__(self, world: World, tactics: Iterable[str] = ()) -> None:
        self.tactics = frozenset(tactics)
        self._language = Language(world)
        dress(self.tactics)

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request with the dressed seed.

        Raises:
            RedteamError: If a seed is missing or none of this world's.
        """
        return [Reply(text=rewrite(self._language, x, self.tactics)) for x in requests]


@speaks(APOTHECARY)
class OracleDefender:
    """Reads every request exactly: refuses the restricted ones, serves all others.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._language = Language(world)

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request."""
        return [Reply(text=self._answer(request.messages[-1]["content"])) for request in requests]

    def _answer(self, text: str) -> str:
        found = self._language.decode(text)
        if found is None:
            return UNCLEAR
        return REFUSALS[0] if found.restricted else answer(found.asked)


@speaks(APOTHECARY)
class DemonstratedAttacker:
    """Dresses each seed as one of the demonstrations does that the base attacker learnt from.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._corpus = Corpus(world)

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request with the dressed seed; the tactics are drawn by the request's path.

        Raises:
            RedteamError: If a seed is missing or none of this world's.
        """
        return [Reply(text=self._dressed(request)) for request in requests]

    def _dressed(self, request: TurnRequest) -> str:
        tactics = self._corpus.attack(generator((*request.path, "tactics")))
        return rewrite(self._corpus.language, request, tactics)


@speaks(APOTHECARY)
class DemonstratedDefender:
    """Refuses as often as the base defender does: the more tactics, the less.

    It serves all it does not refuse. So an attack can succeed here, and some tactics do better than
    others.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._corpus = Corpus(world)

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request; whether it is refused is drawn by the request's path."""
        return [Reply(text=self._answer(request)) for request in requests]

    def _answer(self, request: TurnRequest) -> str:
        found = self._corpus.language.decode(str(request.messages[-1]["content"]))
        if found is None:
            return UNCLEAR
        rng = generator((*request.path, "refusal"))
        refuses = self._corpus.refuses(found.restricted, found.tactics, rng)
        return REFUSALS[0] if refuses else answer(found.asked)


def demonstrated(role: str, world: World | None = None) -> Agent:
    """Return what the base model's demonstrations do in a role, as a scripted agent.

    Args:
        role: ``attacker`` or ``defender``.
        world: The world; by default the one of the embedded model ``apothecary``.
    """
    chosen = make_world() if world is None else world
    return DemonstratedAttacker(chosen) if role == "attacker" else DemonstratedDefender(chosen)
