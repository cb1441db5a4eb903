"""PPO with a value head per role (arXiv 1707.06347, equations 7 and 9; GAE, arXiv 1506.02438, eq. 16).

Per token, the KL penalty and, on the last one, the game's clipped reward, as in ``reinforce_pp``; the
advantage is GAE's against a critic that reads what the seat itself saw, standardised over the role's
tokens; PPO's clipped surrogate. How the critic is fitted, and what is simplified in it, stands in
:mod:`algorithms.core.actor_critic`; ``mappo`` has a critic that reads what both seats wrote.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from algorithms.core.actor_critic import ActorCritic
from algorithms.core.config import ActorCriticConfig
from algorithms.core.losses import clipped_surrogate
from redteam_env.game import above
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(ActorCriticConfig):
    """Settings of PPO.

    Attributes:
        clip: Width of the clipped probability ratio.
    """

    clip: Annotated[float, above(0)] = 0.2


class PPO(ActorCritic):
    """PPO's clipped surrogate against one value head a role."""

    Config = PPOConfig

    def loss(self, batch: Batch) -> "torch.Tensor":
        """PPO's clipped surrogate, a mean over tokens."""
        return clipped_surrogate(
            batch.logprobs, batch.old, batch.advantages, batch.tokens, clip=self.config.clip
        )
