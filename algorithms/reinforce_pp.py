"""REINFORCE++ for two roles (arXiv 2501.03262), as Self-RedTeam uses it (arXiv 2506.07468, sec. 3).

Per token, ``-beta * (log pi - log ref)`` (k1) plus, on the last token, the game's clipped reward;
rewards-to-go with discount 1; no critic; advantages standardised over the batch separately per role;
PPO's clipped surrogate. Ours beside the paper: the choice of baseline. The optional supervised term
is Self-RedTeam's (coefficient 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from algorithms.core.advantages import (
    Array,
    Baseline,
    baselines,
    reward_to_go,
    standardise,
    token_rewards,
)
from algorithms.core.config import StandardisedConfig
from algorithms.core.losses import clipped_surrogate
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import above
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch

EMA_DECAY = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcePPConfig(StandardisedConfig):
    """Settings of REINFORCE++.

    Attributes:
        baseline: What returns are compared with: role (their mean per role), batch (over all
            roles), ema (running mean per role), none.
        clip: Width of the clipped probability ratio.
    """

    baseline: Baseline = "role"
    clip: Annotated[float, above(0)] = 0.2


class ReinforcePP(PolicyGradient):
    """REINFORCE++ with one optimiser for each set of weights."""

    Config = ReinforcePPConfig

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Standardise returns, with or without a baseline; then move the running means."""
        masks = {role: own.mask for role, own in batches.items()}
        returns = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            returns[role] = reward_to_go(
                token_rewards(own.kl, own.rewards, own.mask, beta=beta), own.mask
            )
        chosen = baselines(returns, masks, self.config.baseline, self.ema)
        result = {}
        for role, values in returns.items():
            base, scale = chosen[role]
            result[role] = standardise(
                values,
                masks[role],
                baseline=base,
                scale=scale,
                floor=self.config.scale_floor,
            )
            self.note(role, baseline=base, return_scale=scale)
            mean = float(values[masks[role]].mean())
            self.ema[role] = EMA_DECAY * self.ema.get(role, 0.0) + (1 - EMA_DECAY) * mean
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """PPO's clipped surrogate, a mean over tokens."""
        return clipped_surrogate(
            batch.logprobs, batch.old, batch.advantages, batch.tokens, clip=self.config.clip
        )
