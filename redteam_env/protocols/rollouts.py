"""Games to play, and what an algorithm that samples more may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from redteam_env.game import Episode, Seed
from redteam_env.protocols.agents import Agent
from redteam_env.randomness import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSetup:
    """One game to play: its seed, whether the attacker plays, its path and its group."""

    seed: Seed
    rewritten: bool
    path: Address
    group: int


class Rollout(Protocol):
    """Plays further games for an algorithm while it updates, with the run's rules and judge.

    The games are logged as ``rollout/games`` and ``rollout/tokens`` and count towards the run's
    ``max_tokens``; they are written to no file.
    """

    @property
    def step(self) -> int:
        """The training step."""
        ...

    def schedule(self, games: int, name: str) -> list[GameSetup]:
        """Draw games from the run's seeds and shares.

        Args:
            games: How many.
            name: Addresses the draw within the step: another name, other games.
        """
        ...

    def play(
        self, setups: Sequence[GameSetup], agents: Mapping[str, Agent] | None = None
    ) -> list[Episode]:
        """Play games.

        Args:
            setups: The games, from :meth:`schedule` or made by hand. Games with equal paths have equal
                draws, whoever plays them.
            agents: Who plays, by seat; seats that are left out are played as in the step: by the current
                weights, or by the run's opponent.

        Returns:
            One episode for each setup; :func:`redteam_env.rollout.role_batches` makes batches of them.
        """
        ...
