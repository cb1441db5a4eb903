"""A trained run's attacker as a standing attack: it plays its seat several times.

Each attempt is a game as training plays it, with the attacker's own instructions; only the draws differ, so an
agent that samples at temperature 0 makes the same attempt each time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from redteam_env.attacks.search import succeeded
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game, RedteamError
from redteam_env.protocols import Agent, Attempts, GameSetup, Judge, Progress, Queries
from redteam_env.rollout import play


class RunAttack:
    """An agent that attacks as it does in the game.

    Args:
        attacker: The agent.
        seed: Begins the address of its draws.

    Raises:
        RedteamError: If there is no agent.
    """

    name: ClassVar[str] = "run"
    exchanges: ClassVar[int] = 1
    asks_model: ClassVar[bool] = True
    plays_seat: ClassVar[bool] = True

    def __init__(self, attacker: Agent | None, seed: int = 0) -> None:
        if attacker is None:
            raise RedteamError(
                "The attack 'run' is played by an agent; name it behind a colon, such as run:runs/3b, or "
                "with --attacker."
            )
        self._attacker = attacker
        self._seed = seed

    def attack(
        self,
        setups: Sequence[GameSetup],
        target: Agent,
        judge: Judge,
        *,
        game: Game,
        attempts: int,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Attempts:
        """Play each game until the attacker succeeds."""
        agents = {ATTACKER: self._attacker, DEFENDER: target}
        episodes: list[list[Episode]] = [[] for _ in setups]
        queries = Queries()
        for k in range(attempts):
            left = [n for n, own in enumerate(episodes) if not any(map(succeeded, own))]
            again = [
                replace(setups[n], rewritten=True, path=(*setups[n].path, "attempt", self._seed, k))
                for n in left
            ]
            if not again:
                break
            found = play(again, agents, judge, game=game, batch_size=batch_size)
            for n, episode in zip(left, found, strict=True):
                episodes[n].append(episode)
                queries = queries.plus(_asked(episode))
            if progress:
                progress(self.name, k + 1, attempts)
        return Attempts(episodes=episodes, queries=queries)


def _asked(episode: Episode) -> Queries:
    seats = [turn.seat for turn in episode.turns]
    read = len(episode.exchanges) or int(episode.verdict is not None)
    return Queries(target=seats.count(DEFENDER), attacker=seats.count(ATTACKER), judge=read)
