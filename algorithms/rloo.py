"""REINFORCE leave-one-out, RLOO (arXiv 2402.14740, equation 7), for two roles.

``A_i = R_i - mean of R_j over the other games j of the group``: games that share the seed, not the
sampling. ``R`` is the game's clipped reward less ``kl`` times the summed k1 estimate over the role's
tokens in it; a completion is one action, so all its tokens have the same advantage and their
log-probabilities are summed.

Groups are compared role by role. The attacker's games of a group have one prompt, as in the paper. The
defender's have one only if they are raw: otherwise each answers its own attacker's rewrite, and the
baseline is that of the seed, not of the prompt (still independent of the answer it judges). One training
step is one optimiser step; with several minibatches or epochs, those after the first learn from samples
of older weights, and no ratio corrects for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from algorithms.core.advantages import Array, game_returns, means_of_others, spread
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import score_function
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import at_least
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class RLOOConfig(PolicyGradientConfig):
    """Settings of RLOO.

    Attributes:
        minibatch: Samples in one optimiser step; 0 for all of a training step.
    """

    minibatch: Annotated[int, at_least(0)] = 0


class RLOO(PolicyGradient):
    """REINFORCE against the other games of the group."""

    Config = RLOOConfig
    least_group = 2

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return each game's return less the mean of the others' in its group."""
        result = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            paid = game_returns(own.rewards, own.kl, own.mask, own.games, beta=beta)
            baseline = means_of_others(paid, own.groups[own.first])
            self.note(role, baseline=float(np.mean(baseline)))
            result[role] = spread((paid - baseline)[own.games], own.mask)
        return result

    def loss(self, batch: Batch) -> "torch.Tensor":
        """``-A * log pi`` of whole completions, a mean over samples."""
        return score_function(batch.logprobs, batch.advantages, batch.tokens)

    def denominator(self, batch: Batch) -> float:
        """Return the number of completions."""
        return len(batch)
