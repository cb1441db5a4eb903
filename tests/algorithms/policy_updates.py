"""Updates of tiny policies by a few sampled turns, and what they change."""

import torch

from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from redteam_env.game import Game
from redteam_env.protocols import Batch, TurnRequest


def play(policy, role: str, n: int = 6) -> Batch:
    """A batch of one role: sampled turns with rewards that differ."""
    asked = [
        TurnRequest(
            seat=f"{role}_0",
            role=role,
            messages=[
                {"role": "system", "content": "Say."},
                {"role": "user", "content": f"{k}" * k},
            ],
            path=(role, k),
        )
        for k in range(n)
    ]
    replies = policy.agent(role).act(asked)
    return Batch.of(role, [reply.generation for reply in replies], [float(k % 3) for k in range(n)])


def snapshot(policy, name: str) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in policy.parameters(name)]


def changed(policy, name: str, before: list[torch.Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(policy.parameters(name), before, strict=True))


def update(policy, *roles: str, **options) -> None:
    config = ReinforcePPConfig(**{"lr": 1e-2, **options})
    algorithm = ReinforcePP(config, policy=policy, game=Game(), seed=0)
    algorithm.update(policy, {role: play(policy, role) for role in roles})
