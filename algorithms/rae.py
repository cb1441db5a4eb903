"""Role-conditioned advantage estimation, RAE (SPIRAL, arXiv 2506.24119, sec. 3.3).

REINFORCE with a running mean of each role's rewards as baseline, game by game:
``A = R - b``, then ``b <- decay * b + (1 - decay) * R``. The paper prints the two the other way round;
its code, and we, subtract the mean before it is moved, so that a game is not compared with itself.
SPIRAL has no KL penalty, so ``kl`` is 0 by default; above 0 it is charged token by token, as in
``reinforce``. With several turns in a game each is paid the game's reward. One training step is one
optimiser step; with several minibatches or epochs, those after the first learn from samples of older
weights, and no ratio corrects for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from algorithms.core.advantages import (
    Array,
    game_returns,
    reward_to_go,
    running_means,
    spread,
    token_rewards,
)
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import score_function
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import at_least, between
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class RAEConfig(PolicyGradientConfig):
    """Settings of RAE.

    Attributes:
        kl: Coefficient of the KL penalty, reward per nat; SPIRAL has none.
        minibatch: Samples in one optimiser step; 0 for all of a training step.
        ema_decay: Share of the running mean that a game leaves in place, in [0, 1).
    """

    kl: Annotated[float, at_least(0)] = 0.0
    minibatch: Annotated[int, at_least(0)] = 0
    ema_decay: Annotated[float, between(0, 1, below=True)] = 0.95


class RAE(PolicyGradient):
    """REINFORCE with a running mean per role."""

    Config = RAEConfig

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return rewards-to-go less the running means; move these."""
        result = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            rewards = token_rewards(own.kl, own.rewards, own.mask, beta=beta)
            paid = game_returns(own.rewards, own.kl, own.mask, own.games, beta=0.0)
            before, after = running_means(
                paid, self.ema.get(role, 0.0), decay=self.config.ema_decay
            )
            self.ema[role] = after
            self.note(role, baseline=float(np.mean(before)))
            baseline = spread(before[own.games], own.mask)
            result[role] = reward_to_go(rewards, own.mask) - baseline
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """``-A * log pi``, a mean over tokens."""
        return score_function(batch.logprobs, batch.advantages, batch.tokens)
