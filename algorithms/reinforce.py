"""REINFORCE for two roles (Williams 1992, sec. 4): ``gradient = sum_t A_t * grad log pi(token_t)``.

The advantage of a token is its reward-to-go itself: the game's clipped reward less the KL penalty on
this and all later tokens (as in ``reinforce_pp``). No baseline, no scale, no clipped ratio: the plain
estimator that the others are compared with. As the paper has it, one batch is for one optimiser step;
with several minibatches or epochs, those after the first learn from samples of older weights, and no
ratio corrects for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from algorithms.core.advantages import Array, reward_to_go, token_rewards
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import score_function
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import at_least
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforceConfig(PolicyGradientConfig):
    """Settings of REINFORCE.

    Attributes:
        minibatch: Samples in one optimiser step; 0 for all of a training step.
    """

    minibatch: Annotated[int, at_least(0)] = 0


class Reinforce(PolicyGradient):
    """REINFORCE without a baseline."""

    Config = ReinforceConfig

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return rewards-to-go."""
        result = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            rewards = token_rewards(own.kl, own.rewards, own.mask, beta=beta)
            result[role] = reward_to_go(rewards, own.mask)
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """``-A * log pi``, a mean over tokens."""
        return score_function(batch.logprobs, batch.advantages, batch.tokens)
