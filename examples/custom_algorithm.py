"""Write an algorithm: a config dataclass, and a class with update, state and load_state.

This one is plain REINFORCE with a constant step: raise the log-probability of what paid.

python examples/custom_algorithm.py [MODEL [OUT]]
"""

import sys
from dataclasses import dataclass

import torch

from agents.lora.config import PolicyConfig
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.trainer import train
from redteam_env import GameConfig, register
from redteam_env.protocols import AlgorithmState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainConfig:
    """Settings; every field becomes an option of redteam-env train."""

    step_size: float = 1e-3


class Plain:
    """REINFORCE (Williams, 1992) without baseline, one sample at a time."""

    Config = PlainConfig

    def __init__(self, config, *, policy, game, seed):
        self.config = config

    def update(self, policy, batches):
        for role in policy.trainable_roles:
            weights = policy.parameters(policy.weights_of(role))
            batch = batches.get(role)
            for k in range(len(batch) if batch else 0):
                found = policy.logprobs(role, [batch.generations[k]])
                gradients = torch.autograd.grad(found.logprobs.mean(), weights)
                with torch.no_grad():
                    for tensor, gradient in zip(weights, gradients, strict=True):
                        tensor.add_(self.config.step_size * float(batch.rewards[k]) * gradient)
            policy.publish(policy.weights_of(role))
        return {f"{role}/samples_seen": len(batch) for role, batch in batches.items()}

    def state(self):
        return AlgorithmState()

    def load_state(self, state):
        pass


register("algorithms", "plain", Plain)
model = sys.argv[1] if len(sys.argv) > 1 else "smollm2"
out = sys.argv[2] if len(sys.argv) > 2 else "runs/example-algorithm"
run = RunConfig(algorithm="plain", steps=1, games=4, out=out, resume=True)
policy = PolicyConfig(model=model, rank=4, max_new_tokens=16)
print(train(TrainConfig(run=run, game=GameConfig(), policy=policy, learner=PlainConfig())))
