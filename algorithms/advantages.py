"""Advantages as pure functions over padded float64 arrays; no model, no framework.

All arrays have the shape (rows, longest completion); ``mask`` is true on completion tokens, which
stand at the left of each row.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Baseline = Literal["none", "batch", "role", "ema"]
MIN_SCALE = 1e-4


def token_rewards(
    kl: Array, rewards: Array, mask: Array, *, beta: float, reward_clip: float
) -> Array:
    """Spread a game's reward over its tokens, less the KL penalty (REINFORCE++, arXiv 2501.03262).

    ``r_t = -beta * kl_t``, plus the clipped reward on the last token.

    Args:
        kl: k1 estimates ``log pi(token) - log ref(token)``, nats.
        rewards: The reward of each row, shape (rows,).
        mask: Completion tokens.
        beta: KL coefficient, reward per nat.
        reward_clip: Rewards are clipped to ±this.

    Returns:
        The reward of each token; 0 off the mask.
    """
    result = np.where(mask, -beta * kl, 0.0)
    last = mask.sum(axis=1) - 1
    result[np.arange(len(rewards)), last] += np.clip(rewards, -reward_clip, reward_clip)
    return result


def reward_to_go(rewards: Array, mask: Array) -> Array:
    """Sum each token's reward and all later ones (discount 1); 0 off the mask."""
    totals = np.flip(np.flip(np.where(mask, rewards, 0.0), axis=1).cumsum(axis=1), axis=1)
    return np.where(mask, totals, 0.0)


def standardise(values: Array, mask: Array, *, baseline: float, scale: float) -> Array:
    """Subtract a baseline and divide by a scale, on the mask.

    The scale is at least 1e-4: where all games paid the same, the returns differ by rounding in the
    KL term only, and dividing by that would turn noise into advantages of size 1.

    Returns:
        ``(values - baseline) / max(scale, 1e-4)``; 0 off the mask.
    """
    return np.where(mask, (values - baseline) / max(scale, MIN_SCALE), 0.0)


def baselines(
    returns: Mapping[str, Array],
    masks: Mapping[str, Array],
    kind: Baseline,
    ema: Mapping[str, float],
) -> dict[str, tuple[float, float]]:
    """Choose what each role's returns are compared with.

    Centring on a batch in which nearly all fail makes failure look good, hence the choice:
    ``role`` (mean of the role's tokens: REINFORCE++ separately per role, as Self-RedTeam does),
    ``batch`` (mean over all roles), ``ema`` (running mean per role, SPIRAL's role-conditioned
    baseline, arXiv 2506.24119), ``none`` (0, so that the sign of the reward survives).

    Args:
        returns: Returns of each role's tokens.
        masks: Their masks.
        kind: Which baseline.
        ema: The running mean of each role, for ``ema``; a role without one starts at 0.

    Returns:
        For each role the baseline and the root mean square about it, over the role's tokens (over
        all tokens for ``batch``); about a mean this is the standard deviation.
    """
    pooled = {role: returns[role][masks[role]] for role in returns}
    everything = np.concatenate(list(pooled.values()))
    result = {}
    for role, values in pooled.items():
        about = everything if kind == "batch" else values
        centre = {"none": 0.0, "batch": float(everything.mean()), "role": float(values.mean())}
        base = ema.get(role, 0.0) if kind == "ema" else centre[kind]
        result[role] = (base, float(np.sqrt(np.mean((about - base) ** 2))))
    return result


def pad(rows: list[Array]) -> tuple[Array, Array]:
    """Stack rows of different lengths.

    Returns:
        The float64 array (rows, longest), 0 where a row is shorter, and its mask.
    """
    longest = max(len(row) for row in rows)
    values = np.zeros((len(rows), longest))
    mask = np.zeros((len(rows), longest), dtype=bool)
    for k, row in enumerate(rows):
        values[k, : len(row)] = row
        mask[k, : len(row)] = True
    return values, mask
