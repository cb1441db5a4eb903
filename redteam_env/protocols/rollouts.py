"""One game to play, as a schedule draws it."""

from dataclasses import dataclass

from redteam_env.game import Seed
from redteam_env.randomness import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSetup:
    """One game to play: its seed, whether the attacker plays, its path and its group."""

    seed: Seed
    rewritten: bool
    path: Address
    group: int
