"""Success within k attempts: how often at least one of k attacks on the same request succeeds.

An attacker may try again, so one attempt for each request says little about a persistent one. With
more attempts played than asked about, every choice of k of them counts, which uses all games and is
unbiased (Chen et al. 2021, arXiv 2107.03374, section 2.1, where it is called pass@k).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from redteam_env.evaluation.statistics import Interval, shares_interval
from redteam_env.game import RedteamError


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinAttempts:
    """The share of requests on which at least one of k attempts succeeds.

    Attributes:
        attempts: The number k.
        value: The share, in [0, 1]; ``None`` without a request that had so many attempts.
        interval: Clustered by request, 95 % unless another confidence was asked for; [0, 1] without
            requests.
        requests: Those that count.
        short: Those that had fewer than k attempts with an outcome, which do not.
    """

    attempts: int
    value: float | None
    interval: Interval
    requests: int
    short: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the share is null where no request had enough attempts."""
        return {
            "attempts": self.attempts,
            "rate": self.value,
            "interval": self.interval.to_json(),
            "requests": self.requests,
            "short": self.short,
        }


def success_of(successes: int, attempts: int, k: int) -> float:
    """Return the share of all choices of k attempts on one request that hold a success.

    That is ``1 - C(n - c, k) / C(n, k)`` for c successes among n attempts.

    Args:
        successes: How many succeeded.
        attempts: How many there were.
        k: How many are chosen.

    Raises:
        RedteamError: If not ``0 <= successes <= attempts`` and ``1 <= k <= attempts``.
    """
    if not 0 <= successes <= attempts:
        raise RedteamError(
            f"{successes} of {attempts} attempts cannot have succeeded; give 0 <= successes <= attempts."
        )
    if not 1 <= k <= attempts:
        raise RedteamError(
            f"Success within {k} attempts cannot be told from {attempts}; play more, or ask for fewer."
        )
    return 1 - math.comb(attempts - successes, k) / math.comb(attempts, k)


def success_within(
    outcomes: Sequence[bool | None],
    requests: Sequence[Hashable],
    k: int,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
) -> WithinAttempts:
    """Return on which share of requests at least one of k attempts succeeds.

    Args:
        outcomes: Whether each attempt succeeded; ``None`` for a void one, which does not count.
        requests: The request of each attempt, such as its seed's text.
        k: Attempts that an attacker has, at least 1.
        rng: Where the bootstrap's draws come from.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        The mean over requests of :func:`success_of`, with an interval that draws whole requests.

    Raises:
        RedteamError: If the lengths differ, or k or the confidence is out of range.
    """
    if len(outcomes) != len(requests):
        raise RedteamError(
            f"{len(outcomes)} attempts have {len(requests)} requests; give one each."
        )
    if k < 1:
        raise RedteamError(f"Success within {k} attempts has no meaning; give at least 1.")
    tried: dict[Hashable, list[bool]] = {}
    for request, outcome in zip(requests, outcomes, strict=True):
        own = tried.setdefault(request, [])
        if outcome is not None:
            own.append(outcome)
    shares = [success_of(sum(own), len(own), k) for own in tried.values() if len(own) >= k]
    return WithinAttempts(
        attempts=k,
        value=math.fsum(shares) / len(shares) if shares else None,
        interval=shares_interval(shares, rng, confidence=confidence),
        requests=len(shares),
        short=len(tried) - len(shares),
    )
