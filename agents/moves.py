"""Agents that choose among numbered moves (:mod:`redteam_env.wrappers`) without looking."""

from collections.abc import Sequence

from redteam_env.envs.moves import Moves, spoken
from redteam_env.protocols import Agent, Reply, TurnRequest, speaks
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary import make_world
from redteam_env.worlds.apothecary.levels import APOTHECARY
from redteam_env.worlds.apothecary.moves import world_moves


class RandomMoves:
    """Plays a move drawn uniformly in each turn: what a learner starts from and has to beat.

    Args:
        moves: The moves.
    """

    def __init__(self, moves: Moves) -> None:
        self._moves = moves

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        return [Reply(text=spoken(self._moves, self._draw(x), x)) for x in requests]

    def _draw(self, request: TurnRequest) -> int:
        # what the move itself draws from the path must not hang on which move it is
        return int(generator((*request.path, "move")).integers(len(self._moves.names)))


@speaks(APOTHECARY)
def random_tactic(role: str) -> Agent:
    """Random tactics of the controlled world; as defender, modes."""
    return RandomMoves(world_moves(make_world(), role))
