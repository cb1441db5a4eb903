"""Whether the two roles pull shared weights apart: the cosine of their gradients, and its noise floor.

Anchored Bipolicy Self-Play (arXiv 2605.08427) holds that the roles' updates to shared weights
conflict. A cosine near zero says nothing by itself: two halves of one role's batch can be just as
far apart. So the cosine between halves of each role's batch stands beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from algorithms.core.advantages import pad, standardise
from algorithms.training.config import TrainConfig
from redteam_env.game import RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import RoleBatch, Sample, TrainablePolicy
from redteam_env.randomness import generator
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.seeds.resolve import resolve_seeds

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
    game = config.game.game()
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
        samples = _samples(batches, role)
        halves = np.array_split(rng.permutation(len(samples)), 2)
        parts = [_gradient(policy, role, samples, _advantages(samples), half) for half in halves]
        found[role] = parts[0] + parts[1]
        result[f"{role}_halves"] = cosine(*parts)
        result["samples"][role] = len(samples)
        result["norms"][role] = float(np.linalg.norm(found[role]))
    result["between"] = cosine(found["attacker"], found["defender"])
    return result


def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine of two vectors; 0 if one is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _samples(batches: Mapping[str, RoleBatch], role: str) -> Sequence[Sample]:
    samples = batches[role].samples if role in batches else ()
    if len(samples) < 4:
        raise RedteamError(f"The {role} has {len(samples)} samples; play more games.")
    return samples


def _advantages(samples: Sequence[Sample]) -> list[Vector]:
    rewards, mask = pad([np.full(len(s.generation.completion_ids), s.reward) for s in samples])
    baseline = float(rewards[mask].mean())
    found = standardise(rewards, mask, baseline=baseline, scale=float(rewards[mask].std()))
    return [found[k, mask[k]] for k in range(len(samples))]


def _gradient(
    policy: TrainablePolicy,
    role: str,
    samples: Sequence[Sample],
    advantages: Sequence[Vector],
    chosen: Vector,
) -> Vector:
    """Return the summed gradient of some samples, on all shared weights, as one float64 vector."""
    parameters = list(policy.parameters(policy.weights_of(role)))
    for parameter in parameters:
        parameter.grad = None
    tokens = sum(len(advantages[k]) for k in range(len(samples)))
    order = sorted(chosen.tolist(), key=lambda k: len(samples[k].generation.prompt_ids))
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        out = policy.logprobs(role, [samples[k].generation for k in rows])
        weights = torch.from_numpy(pad([advantages[k] for k in rows])[0]).to(out.logprobs)
        loss = -(weights * out.logprobs)[out.mask].sum() / tokens
        loss.backward()
    pieces = [
        (torch.zeros_like(p) if p.grad is None else p.grad).detach().double().cpu().reshape(-1)
        for p in parameters
    ]
    for parameter in parameters:
        parameter.grad = None
    return np.asarray(torch.cat(pieces).numpy())
