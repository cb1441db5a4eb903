"""Advantages as pure functions over padded float64 arrays; no model, no framework.

Arrays of tokens have the shape (rows, longest completion); ``mask`` is true on completion tokens,
which stand at the left of each row. Everything takes time linear in their size.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Baseline = Literal["role", "batch", "ema", "none"]
SCALE_FLOOR = 1e-4
"""The least that returns are divided by, where nothing else is asked for."""


def token_rewards(
    kl: Array, rewards: Array, mask: Array, *, beta: float, reward_clip: float = float("inf")
) -> Array:
    """Spread a game's reward over its tokens, less the KL penalty (REINFORCE++, arXiv 2501.03262).

    ``r_t = -beta * kl_t``, plus the clipped reward on the last token.

    Args:
        kl: k1 estimates ``log pi(token) - log ref(token)``, nats.
        rewards: The reward of each row, shape (rows,).
        mask: Completion tokens.
        beta: KL coefficient, reward per nat.
        reward_clip: Rewards are clipped to ±this; by default they are not.

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


def standardise(
    values: Array, mask: Array, *, baseline: float, scale: float, floor: float = SCALE_FLOOR
) -> Array:
    """Subtract a baseline and divide by a scale, on the mask.

    The scale has a floor: where all games paid the same, the returns differ by the KL term only, and
    dividing by that would turn noise into advantages of size 1.

    Returns:
        ``(values - baseline) / max(scale, floor)``; 0 off the mask.
    """
    return np.where(mask, (values - baseline) / max(scale, floor), 0.0)


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


def spread(values: Array, mask: Array) -> Array:
    """Give each row's value to all its tokens; 0 off the mask."""
    return np.where(mask, values[:, None], 0.0)


def gae(rewards: Array, values: Array, mask: Array, *, lam: float) -> Array:
    """Estimate advantages with a value function (GAE, arXiv 1506.02438, equation 16; discount 1).

    ``A_t = d_t + lam * A_{t+1}`` with ``d_t = r_t + V_{t+1} - V_t``; after the last token both ``V``
    and ``A`` are 0. With ``lam = 1``, ``A_t`` is the reward-to-go less ``V_t``.

    Args:
        rewards: The reward of each token.
        values: The value before each token.
        mask: Completion tokens.
        lam: Weight of later steps, in [0, 1].

    Returns:
        The advantage of each token; 0 off the mask.
    """
    held = np.where(mask, values, 0.0)
    after = np.concatenate([held[:, 1:], np.zeros((len(held), 1))], axis=1)
    surprise = np.where(mask, rewards + after - held, 0.0)
    result = np.zeros_like(surprise)
    later = np.zeros(len(held))
    for t in reversed(range(held.shape[1])):
        later = surprise[:, t] + lam * later
        result[:, t] = later
    return result


def game_returns(rewards: Array, kl: Array, mask: Array, games: Array, *, beta: float) -> Array:
    """Return what each game paid a role, less the KL penalty on all its tokens in it.

    Args:
        rewards: The reward of each row's game, shape (rows,).
        kl: k1 estimates, nats.
        mask: Completion tokens.
        games: Number of each row's game from 0 up; the turns of one game share it, shape (rows,).
        beta: KL coefficient, reward per nat.

    Returns:
        ``R - beta * sum of kl`` of each game, shape (games,).
    """
    paid = np.zeros(int(games.max()) + 1)
    paid[games] = rewards
    return paid - beta * np.bincount(games, weights=np.where(mask, kl, 0.0).sum(axis=1))


def group_means(values: Array, groups: Array) -> Array:
    """Return for each game the mean over its group.

    Args:
        values: A number for each game, shape (games,).
        groups: Its group, any integers, same shape.
    """
    place, size = _places(groups)
    return (np.bincount(place, weights=values) / size)[place]


def group_deviations(
    values: Array, groups: Array, *, kind: Literal["population", "sample"] = "population"
) -> Array:
    """Return for each game the standard deviation over its group, as :func:`group_means` does.

    Args:
        values: A number for each game, shape (games,).
        groups: Its group, any integers, same shape.
        kind: Whether squares are divided by the size of the group, or by one less (0 for a game that
            stands alone).
    """
    squares = group_means((values - group_means(values, groups)) ** 2, groups)
    if kind == "sample":
        place, size = _places(groups)
        squares = squares * (size / np.maximum(size - 1, 1))[place]
    return np.sqrt(squares)


def means_of_others(values: Array, groups: Array) -> Array:
    """Return for each game the mean over the other games of its group (RLOO, arXiv 2402.14740).

    A game that stands alone, because the others are void, is compared with itself: it teaches
    nothing.
    """
    place, size = _places(groups)
    others = np.bincount(place, weights=values)[place] - values
    return np.where(size[place] > 1, others / np.maximum(size[place] - 1, 1), values)


def _places(groups: Array) -> tuple[Array, Array]:
    """Return each entry's group as a number from 0 up, and the size of each group."""
    _, place, size = np.unique(groups, return_inverse=True, return_counts=True)
    return place, size


def running_means(values: Array, start: float, *, decay: float) -> tuple[Array, float]:
    """Compare each game with an exponential running mean of the games before it.

    The mean is read before it is moved, so a game is not compared with itself.

    Args:
        values: What each game paid, in order, shape (games,).
        start: The mean before the first game.
        decay: Share of the old mean that stays, in [0, 1].

    Returns:
        The mean before each game, and the one after the last.
    """
    before = np.zeros(len(values))
    mean = start
    for k, value in enumerate(values):
        before[k] = mean
        mean = decay * mean + (1 - decay) * float(value)
    return before, mean
