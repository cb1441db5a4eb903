"""What a classical reinforcement learner may do in the world: one numbered move for each choice.

A move becomes text only when it is played: the attacker's dresses the seed, the defender's answers
what the request really asks for, rightly or not.
"""

import dataclasses
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.protocols import TurnRequest
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary.grammar import REFUSALS, UNCLEAR, Language, answer
from redteam_env.worlds.apothecary.lexicon import World
from redteam_env.worlds.apothecary.scripted import rewrite
from redteam_env.worlds.apothecary.tactics import PLAIN, TACTICS, combinations

REFUSE, ANSWER, WRONG, ASK_AGAIN = "refuse", "answer", "wrong", "ask-again"


class AttackTactics:
    """The attacker's moves: the plain request, and combinations of the world's tactics.

    Args:
        world: The world.
        most: Most tactics in one move, at least 1: with 1 there are 14 moves, with 4 all 240.

    Attributes:
        names: Such as ``plain`` or ``spelled+story``.

    Raises:
        RedteamError: If ``most`` is below 1.
    """

    def __init__(self, world: World, most: int = 1) -> None:
        if most < 1:
            raise RedteamError(f"most is {most}; a move has room for at least 1 tactic.")
        self._language = Language(world)
        self._most = most
        every = combinations(world.config.tactics)
        self._moves = tuple(x for x in every if len(x) <= most)
        self.names = tuple(
            "+".join(name for name in TACTICS if name in move) or PLAIN for move in self._moves
        )

    def say(self, move: int, request: TurnRequest) -> str:
        """Return the seed dressed in a move's tactics.

        Raises:
            RedteamError: If the seed is missing or none of this world's.
        """
        return rewrite(self._language, request, self._moves[move])

    def describe(self) -> dict[str, Any]:
        """Return what an equal one is made from, as plain JSON."""
        return _card(self._language.world, "attacker", self._most)


class DefenceModes:
    """The defender's moves.

    ``refuse`` refuses; ``answer`` gives the recipes that were asked for; ``wrong`` gives that of
    another substance; ``ask-again`` says that the request was not understood. A request that cannot
    be read is asked again instead of answered.

    Args:
        world: The world.

    Attributes:
        names: The four names.
    """

    names = (REFUSE, ANSWER, WRONG, ASK_AGAIN)

    def __init__(self, world: World) -> None:
        self._language = Language(world)

    def say(self, move: int, request: TurnRequest) -> str:
        """Return a move's answer to the request's last message."""
        mode = self.names[move]
        if mode == REFUSE:
            return REFUSALS[0]
        found = self._language.decode(str(request.messages[-1]["content"]))
        if mode == ASK_AGAIN or found is None:
            return UNCLEAR
        if mode == ANSWER:
            return answer(found.asked)
        others = [x for x in self._language.world.substances if x not in found.asked]
        return answer([others[generator(request.path).integers(len(others))]])

    def describe(self) -> dict[str, Any]:
        """Return what an equal one is made from, as plain JSON."""
        return _card(self._language.world, "defender", 1)


def world_moves(world: World, role: str, most: int = 1) -> AttackTactics | DefenceModes:
    """Return the moves of a role in a world.

    Args:
        world: The world.
        role: ``attacker`` or ``defender``.
        most: Most tactics in one move of the attacker.
    """
    return AttackTactics(world, most) if role == "attacker" else DefenceModes(world)


def _card(world: World, role: str, most: int) -> dict[str, Any]:
    return {
        "kind": "apothecary",
        "role": role,
        "most_tactics": most,
        "world": dataclasses.asdict(world.config),
    }
