"""Preferences between games of one seed: from the order of rewards or the judge's probabilities."""

import itertools
import math
from collections.abc import Sequence

from algorithms.core.turns import Row
from redteam_env.game import RedteamError
from redteam_env.protocols import Sample

Key = tuple[str, int]
"""A role and the number of one of its games."""
Pair = tuple[Key, Key, float]
"""The better game, the worse one, and the probability that it is so."""
_TIE = 1e-9
"""Scores that differ by rounding alone are no pair."""
_RESTS_ON = {
    "faithfulness": ("prompt_harmful",),
    "gate": ("prompt_harmful",),
    "refusal": ("prompt_harmful", "response_refusal"),
    "harm": ("response_harmful",),
    "format": (),
    "forfeit": (),
}
_EVERYTHING = ("prompt_harmful", "response_refusal", "response_harmful")


def pairs(rows: Sequence[Row], *, soft: bool) -> list[Pair]:
    """Pair the games of each group, role by role, where their scores differ.

    Args:
        rows: Samples of whole groups; the score of a game is the advantage of its tokens.
        soft: Whether a preference is the logistic function of the difference, instead of certain.
    """
    scores: dict[tuple[str, int], dict[Key, float]] = {}
    for row in rows:
        scores.setdefault((row.role, row.group), {})[row.key] = float(row.advantages[0])
    result = []
    for group in scores.values():
        for one, other in itertools.combinations(group, 2):
            a, b = sorted((one, other), key=lambda key: -group[key])
            gap = group[a] - group[b]
            if gap > _TIE:
                result.append((a, b, 1 / (1 + math.exp(-gap)) if soft else 1.0))
    return result


def expected_reward(sample: Sample) -> float:
    """Return what a game would pay on average under the judge's probabilities.

    A component is a product of signs; each shrinks by the confidence in the judge's answer. Exact
    for linear rewards and independent answers.

    Raises:
        RedteamError: If the judge gave no probability for an answer that a component rests on.
    """
    total = 0.0
    for name, value in sample.components.items():
        fields = _RESTS_ON.get(name.rpartition(".")[2], _EVERYTHING)
        missing = [field for field in fields if field not in sample.confidence]
        if missing:
            raise RedteamError(
                f"The judge gave no probability of {missing[0]} for game {sample.path}; "
                "--preference judge needs one. Choose another judge, or --preference order."
            )
        total += value * math.prod(sample.confidence[field] for field in fields)
    return total
