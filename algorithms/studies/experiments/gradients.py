"""Whether the two roles pull shared weights apart: the cosine of their gradients, and its noise floor.

Anchored Bipolicy Self-Play (arXiv 2605.08427) holds that the roles' updates to shared weights
conflict. A cosine near zero says nothing by itself: two halves of one role's batch can be just as
far apart. So the cosine between halves of each role's batch stands beside it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from algorithms.core.advantages import spread, standardise
from algorithms.training.config import TrainConfig
from redteam_env.border.policies import logprobs
from redteam_env.game import RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Batch, TrainablePolicy
from redteam_env.randomness import generator
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.worlds import build_game

_ROWS = 64
Vector = np.ndarray[Any, Any]


def role_gradients(
    config: TrainConfig, policy: TrainablePolicy, *, games: int, seed: int
) -> dict[str, Any]:
    """Play games with one policy and compare the gradients of its roles.

    The gradient is that of the policy-gradient loss at the sampling policy (ratio 1, so without
    clipping): minus the mean over tokens of advantage times log-probability, with the run's rewards
    standardised per role and without the KL term, which pulls both roles to the same base.

    Args:
        config: The run: its game, seeds and judge are played.
        policy: Both roles on shared weights, at the temperature of training.
        games: How many games.
        seed: Addresses the games and the halves.

    Returns:
        ``between``: cosine of the attacker's and the defender's gradient; ``attacker_halves`` and
        ``defender_halves``: cosine of the gradients of two random halves of the role's batch;
        ``norms``, ``samples`` and ``games``.

    Raises:
        RedteamError: If the roles share no weights, or a role has too few samples.
    """
    roles = policy.trainable_roles
    if len(roles) < 2 or len({policy.weights_of(role) for role in roles}) > 1:
        raise RedteamError(
            f"The arrangement {config.policy.arrangement!r} has no weights shared by two roles; "
            "their gradients cannot be compared."
        )
    game = build_game(config.game)
    setups = schedule(
        resolve_seeds(config.game.seeds),
        games,
        path=(seed, "gradients", config.run.seed),
        benign_fraction=config.game.benign_fraction,
        rewrite_fraction=config.game.rewrite_fraction,
    )
    agents = {seat: policy.agent(seat.rpartition("_")[0]) for seat in game.seats}
    judge = resolve_judge(config.game.judge, url=config.game.judge_url)
    batches = role_batches(play(setups, agents, judge, game=game))
    rng = generator((seed, "gradients", "halves"))
    found: dict[str, Vector] = {}
    result: dict[str, Any] = {"games": games, "samples": {}, "norms": {}}
    for role in roles:
        batch = _with_advantages(batches, role)
        halves = np.array_split(rng.permutation(len(batch)), 2)
        parts = [_gradient(policy, batch, half) for half in halves]
        found[role] = parts[0] + parts[1]
        result[f"{role}_halves"] = cosine(*parts)
        result["samples"][role] = len(batch)
        result["norms"][role] = float(np.linalg.norm(found[role]))
    result["between"] = cosine(found["attacker"], found["defender"])
    return result


def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine of two vectors; 0 if one is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _with_advantages(batches: Mapping[str, Batch], role: str) -> Batch:
    """Return a role's batch with its rewards standardised over tokens."""
    batch = batches.get(role)
    if batch is None or len(batch) < 4:
        count = 0 if batch is None else len(batch)
        raise RedteamError(f"The {role} has {count} samples; play more games.")
    rewards = spread(batch.rewards, batch.mask)
    paid = rewards[batch.mask]
    return batch.with_(
        advantages=standardise(
            rewards, batch.mask, baseline=float(paid.mean()), scale=float(paid.std())
        )
    )


def _gradient(policy: TrainablePolicy, batch: Batch, chosen: Vector) -> Vector:
    """Return the summed gradient of some samples, on all shared weights, as one float64 vector."""
    parameters = list(policy.parameters(policy.weights_of(batch.role)))
    for parameter in parameters:
        parameter.grad = None
    tokens = int(batch.mask.sum())
    order = sorted(chosen.tolist(), key=lambda k: len(batch.generations[k].prompt_ids))
    for start in range(0, len(order), _ROWS):
        rows = batch.take(order[start : start + _ROWS])
        rows = rows.in_pass(logprobs(policy, batch.role, rows.generations))
        loss = -(rows.advantages * rows.logprobs)[rows.mask].sum() / tokens
        loss.backward()
    pieces = [
        (torch.zeros_like(p) if p.grad is None else p.grad).detach().double().cpu().reshape(-1)
        for p in parameters
    ]
    for parameter in parameters:
        parameter.grad = None
    return np.asarray(torch.cat(pieces).numpy())
