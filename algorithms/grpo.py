"""Group relative policy optimisation, GRPO (DeepSeekMath, arXiv 2402.03300, equations 3 and 4).

``A_i = (R_i - mean of the group) / deviation of the group``, the same for all tokens of a completion;
PPO's clipped surrogate less ``kl`` times the k3 estimate, a mean over the tokens of a completion, then over
completions. The deviation is at least ``scale_floor``, so a group that was paid alike teaches nothing. It
is the population's by default; TRL divides by the sample's (n - 1), so that its advantages are
sqrt((n - 1) / n) times ours, 0.866 times in groups of four: ``deviation = sample`` is TRL's. Ours beside
the paper: a group's baseline is separate for each role, and importance weights, where they are on, do not
touch the KL term.

The attacker's games of a group have one prompt, as in the paper. The defender's have one only if they
are raw: otherwise each answers its own attacker's rewrite, and the baseline is that of the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from algorithms.core.advantages import (
    Array,
    game_returns,
    group_deviations,
    group_means,
    spread,
)
from algorithms.core.config import StandardisedConfig
from algorithms.core.losses import clipped_surrogate, k3_penalty
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import above, at_least
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPOConfig(StandardisedConfig):
    """Settings of GRPO.

    Attributes:
        kl: Coefficient of the KL term in the loss; DeepSeekMath's.
        clip: Width of the clipped probability ratio.
        deviation: What a group's rewards are divided by: the population's standard deviation, or the
            sample's (n - 1), as in TRL.
    """

    kl: Annotated[float, at_least(0)] = 0.04
    clip: Annotated[float, above(0)] = 0.2
    deviation: Literal["population", "sample"] = "population"


class GRPO(PolicyGradient):
    """PPO's loss with rewards standardised in groups, and no critic."""

    Config = GRPOConfig
    least_group = 2

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Standardise each game's reward within its group."""
        result = {}
        for role, own in batches.items():
            paid = game_returns(own.rewards, own.kl, own.mask, own.games, beta=0.0)
            groups = own.groups[own.first]
            means = group_means(paid, groups)
            deviations = group_deviations(paid, groups, kind=self.config.deviation)
            self.note(role, baseline=float(means.mean()), return_scale=float(deviations.mean()))
            scaled = (paid - means) / deviations.clip(min=self.config.scale_floor)
            result[role] = spread(scaled[own.games], own.mask)
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """The clipped surrogate and the KL term, a mean over each completion's tokens."""
        lengths = _lengths(batch)
        surrogate = clipped_surrogate(
            batch.logprobs,
            batch.old,
            batch.advantages,
            batch.tokens / lengths,
            clip=self.config.clip,
        )
        beta: float = self.config.of_role("kl", batch.role)
        return surrogate + beta * k3_penalty(batch.logprobs, batch.reference, batch.mask / lengths)

    def entropy(self, batch: Batch) -> "torch.Tensor":
        """The mean over each completion's tokens."""
        total: torch.Tensor = (batch.entropy * batch.mask / _lengths(batch)).sum()
        return total

    def denominator(self, batch: Batch) -> float:
        """Return the number of completions."""
        return len(batch)


def _lengths(batch: Batch) -> "torch.Tensor":
    lengths: torch.Tensor = batch.mask.sum(dim=1, keepdim=True)
    return lengths
