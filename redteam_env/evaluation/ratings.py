"""Ratings from many games between attackers and defenders, with the uncertainty of each.

Cross-play is a table; a rating says in one number whom a seat tends to beat, also where not every
pair has met. Ratings are Bayesian (Weng and Lin, "A Bayesian Approximation Method for Online Ranking",
JMLR 12, 2011; the Plackett-Luce model of the package ``openskill``): each player has a normal belief
over its skill, and every game moves both.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from redteam_env.game import RedteamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One game's outcome.

    Attributes:
        attacker: Who attacked.
        defender: Who defended.
        attacker_won: Whether the attack succeeded.
    """

    attacker: Hashable
    defender: Hashable
    attacker_won: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A player's rating.

    Attributes:
        mean: Mean of the belief over its skill; a player without games has 25.
        deviation: Standard deviation of that belief; without games 25/3.
        games: Games it was rated by.
    """

    mean: float
    deviation: float
    games: int

    @property
    def ordinal(self) -> float:
        """The skill that it has almost surely: the mean less three deviations."""
        return self.mean - 3 * self.deviation

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"mean": self.mean, "deviation": self.deviation, "games": self.games}


def ratings(
    duels: Sequence[Duel], rng: np.random.Generator
) -> tuple[dict[Hashable, Skill], dict[Hashable, Skill]]:
    """Rate attackers and defenders.

    A later game moves ratings less than an earlier one, so games are rated in a random order.

    Args:
        duels: The games.
        rng: Where the order comes from.

    Returns:
        The attackers' and the defenders' ratings. Attackers are compared with attackers, defenders
        with defenders: a name may occur in both.

    Raises:
        RedteamError: If openskill is not installed.
    """
    model = _model()
    attackers: dict[Hashable, Any] = {}
    defenders: dict[Hashable, Any] = {}
    counts: dict[tuple[str, Hashable], int] = {}
    for k in rng.permutation(len(duels)):
        duel = duels[int(k)]
        pair = [
            [attackers.get(duel.attacker) or model.rating()],
            [defenders.get(duel.defender) or model.rating()],
        ]
        ranks = [1.0, 2.0] if duel.attacker_won else [2.0, 1.0]
        [[attackers[duel.attacker]], [defenders[duel.defender]]] = model.rate(pair, ranks=ranks)
        for key in (("attacker", duel.attacker), ("defender", duel.defender)):
            counts[key] = counts.get(key, 0) + 1
    return (
        {x: _skill(r, counts["attacker", x]) for x, r in attackers.items()},
        {x: _skill(r, counts["defender", x]) for x, r in defenders.items()},
    )


def _skill(rating: Any, games: int) -> Skill:
    return Skill(mean=float(rating.mu), deviation=float(rating.sigma), games=games)


def _model() -> Any:
    try:
        from openskill.models import PlackettLuce  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise RedteamError(
            "Ratings need openskill; install it with: pip install 'redteam-env[eval]'"
        ) from error
    return PlackettLuce()
