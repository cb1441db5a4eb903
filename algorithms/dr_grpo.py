"""GRPO done right, Dr. GRPO (arXiv 2503.20783, equation 3 and its appendix on the implementation).

GRPO without its two biases: ``A_i = R_i - mean of the group`` is not divided by the deviation (which
favours seeds that are nearly always won or lost), and a completion's tokens are summed and divided by a
constant instead of its own length (which favours long failures). The paper drops the KL term, so
``kl`` is 0 by default; above 0 it is GRPO's.

As in ``grpo``, groups are compared role by role; a defender whose games were rewritten answers
different prompts of one seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from algorithms.core.advantages import Array, game_returns, group_means, spread
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import clipped_surrogate, k3_penalty
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import above, at_least
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class DrGRPOConfig(PolicyGradientConfig):
    """Settings of Dr. GRPO.

    Attributes:
        kl: Coefficient of the KL term in the loss; the paper has none.
        clip: Width of the clipped probability ratio.
        length_norm: What the summed loss of a completion is divided by; the paper's code takes the
            longest completion allowed, here by default ``max_new_tokens``'s default. Only the size of the gradient depends on it.
    """

    kl: Annotated[float, at_least(0)] = 0.0
    clip: Annotated[float, above(0)] = 0.2
    length_norm: Annotated[float, above(0)] = 48.0


class DrGRPO(PolicyGradient):
    """GRPO without the divisions by deviation and length."""

    Config = DrGRPOConfig
    least_group = 2

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return each game's reward less the mean of its group."""
        result = {}
        for role, own in batches.items():
            paid = game_returns(own.rewards, own.kl, own.mask, own.games, beta=0.0)
            means = group_means(paid, own.groups[own.first])
            self.note(role, baseline=float(means.mean()))
            result[role] = spread((paid - means)[own.games], own.mask)
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """The clipped surrogate and the KL term, summed over each completion's tokens."""
        surrogate = clipped_surrogate(
            batch.logprobs, batch.old, batch.advantages, batch.tokens, clip=self.config.clip
        )
        beta: float = self.config.of_role("kl", batch.role)
        return surrogate + beta * k3_penalty(batch.logprobs, batch.reference, batch.mask)

    def denominator(self, batch: Batch) -> float:
        """Return the number of completions times the constant length."""
        return len(batch) * float(self.config.length_norm)
