"""Training steps of an arrangement on the games of the built-in seeds, as a side of a comparison."""

import itertools
from collections.abc import Mapping
from typing import Any

from algorithms.reinforce_pp import ReinforcePP
from algorithms.speed.policy import endless_policy
from algorithms.speed.worker import Turns
from redteam_env.game import Game, role_of
from redteam_env.judges.resolve import resolve_judge
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.seeds.resolve import resolve_seeds


class Trainer:
    """Plays and learns, step by step; every completion has the same length.

    Args:
        spec: ``model``, ``arrangement``, ``rank``, ``length`` (tokens of a completion), and
            ``threads``.
        game: The rules.
    """

    def __init__(self, spec: Mapping[str, Any], game: Game) -> None:
        self.game = game
        self.policy = endless_policy(spec, arrangement=spec["arrangement"], length=spec["length"])
        self._learner = ReinforcePP(ReinforcePP.Config(), policy=self.policy, game=game, seed=0)
        self._seeds, self._judge = resolve_seeds("builtin"), resolve_judge("lexical")
        self._steps = itertools.count()

    def step(self, games: int) -> None:
        """Play games, all of them rewritten, and learn from them once."""
        setups = schedule(
            self._seeds, games, path=("speed", next(self._steps)), rewrite_fraction=1.0
        )
        agents = {seat: self.policy.agent(role_of(seat)) for seat in self.game.seats}
        size = self.policy.config.generation_batch
        episodes = play(setups, agents, self._judge, game=self.game, batch_size=size)
        self._learner.update(self.policy, role_batches(episodes))


def step_of_arrangement(spec: Mapping[str, Any], turns: Turns) -> None:
    """Take training steps of ``games`` games in an arrangement."""
    trainer = Trainer(spec, Game())
    while turns.begin():
        trainer.step(spec["games"])
        turns.end()
