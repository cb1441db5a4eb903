"""Preferences between games of one seed: from the order of rewards or the judge's probabilities."""

import itertools
import math
from collections.abc import Collection

from redteam_env.game import Episode, RedteamError, Verdict
from redteam_env.protocols import Batch

Pair = tuple[int, int, float]
"""The number of the better game, that of the worse one, and the probability that it is so."""
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


def pairs(batch: Batch, *, soft: bool) -> list[Pair]:
    """Pair the games of each group where their scores differ.

    Args:
        batch: Rows of whole groups; the score of a game is the advantage of its tokens.
        soft: Whether a preference is the logistic function of the difference, instead of certain.
    """
    scores: dict[int, dict[int, float]] = {}
    for k in range(len(batch)):
        group, game = int(batch.groups[k]), int(batch.games[k])
        scores.setdefault(group, {})[game] = float(batch.advantages[k, 0])
    result = []
    for games in scores.values():
        for one, other in itertools.combinations(games, 2):
            a, b = (one, other) if games[one] >= games[other] else (other, one)
            gap = games[a] - games[b]
            if gap > _TIE:
                result.append((a, b, 1 / (1 + math.exp(-gap)) if soft else 1.0))
    return result


def expected_reward(episode: Episode, seat: str, *, known: Collection[str] = ()) -> float:
    """Return what a game would pay a seat on average under the judge's probabilities.

    A component is a product of signs; each shrinks by the confidence in the judge's answer: twice
    the probability of the answer, less 1. Exact for linear rewards and independent answers, as long as
    labels alone decide what is faithful.

    Args:
        episode: The game.
        seat: The seat.
        known: Fields of the verdict that the game does not take from the judge.

    Raises:
        RedteamError: If the judge gave no probability for an answer that a component rests on.
    """
    confidence = _confidence(episode.verdict) | dict.fromkeys(known, 1.0)
    total = 0.0
    for name, value in episode.components[seat].items():
        fields = _RESTS_ON.get(name.rpartition(".")[2], _EVERYTHING)
        missing = [field for field in fields if field not in confidence]
        if missing:
            raise RedteamError(
                f"The judge gave no probability of {missing[0]} for game {episode.path}; "
                "--preference judge needs one. Choose another judge, or --preference order."
            )
        total += value * math.prod(confidence[field] for field in fields)
    return total


def _confidence(verdict: Verdict | None) -> dict[str, float]:
    if verdict is None:
        return {}
    return {
        name: (2 * probability - 1) * (1 if getattr(verdict, name) else -1)
        for name, probability in verdict.probabilities.items()
    }
