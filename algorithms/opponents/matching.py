"""Matches that several samplers share: the current weights, and each role against frozen versions."""

from collections.abc import Mapping, Sequence

import numpy as np

from redteam_env.game import RedteamError
from redteam_env.protocols import Match

SIDES = ("attacker", "defender")


def other(role: str) -> str:
    """Return the role on the other side."""
    return SIDES[1 - SIDES.index(role)]


def current(weights: Mapping[str, str], learners: Sequence[str] | None = None) -> Match:
    """Return the match of the current weights of all roles, which all learn unless some are named."""
    return Match(players=dict(weights), learners=tuple(weights if learners is None else learners))


def versus(weights: Mapping[str, str], learner: str, version: str) -> Match:
    """Return the match of one role's current weights, which learn, against a frozen version."""
    return Match(players={**weights, other(learner): version}, learners=(learner,))


def against_versions(
    weights: Mapping[str, str], rewritten: Sequence[bool], versions: Mapping[str, Sequence[str]]
) -> list[Match]:
    """Match both roles with frozen versions of the other side.

    The roles learn from rewritten games in turn; a raw game has no attacker, so the defender learns.

    Args:
        weights: The current weights of each role.
        rewritten: For each group of games, whether the attacker plays.
        versions: For each role the frozen versions that play it, taken in turn; at least one.

    Returns:
        A match for each group.
    """
    matches = []
    played = 0
    for rewrites in rewritten:
        if rewrites:
            learner = SIDES[played % 2]
            faced = versions[other(learner)]
            matches.append(versus(weights, learner, faced[played // 2 % len(faced)]))
            played += 1
        else:
            matches.append(current(weights, SIDES[1:]))
    return matches


def drawn(
    versions: Sequence[str], chances: Sequence[float], count: int, rng: np.random.Generator
) -> list[str]:
    """Draw versions by systematic sampling: each as often as its chance says, up to rounding.

    Args:
        versions: At least one.
        chances: Non-negative, not all 0; they need not sum to 1.
        count: How many to draw.
        rng: Where the offset and the order come from.
    """
    shares = np.cumsum(np.asarray(chances, dtype=np.float64))
    marks = (np.arange(count) + rng.random()) / count * shares[-1]
    places = np.searchsorted(shares, marks, side="right")
    return [versions[int(k)] for k in rng.permutation(places)]


def both_sides(weights: Mapping[str, str], sampler: str) -> dict[str, str]:
    """Return the weights of both roles.

    Raises:
        RedteamError: If a role is missing, because it is not trained or does not exist.
    """
    missing = [role for role in SIDES if role not in weights]
    if missing:
        raise RedteamError(
            f"The opponents {sampler!r} are past versions of both roles, but {missing} is not trained "
            "here; give --arrangement bipolicy or shared, or --opponents self_play."
        )
    return {role: weights[role] for role in SIDES}
