"""PPO with a value head per role (arXiv 1707.06347, equations 7 and 9; GAE, arXiv 1506.02438, eq. 16).

Per token, the KL penalty and, on the last one, the game's clipped reward, as in ``reinforce_pp``; the
advantage is GAE's (discount 1) against the values of the role's own head, standardised over the role's
tokens; PPO's clipped surrogate.

The head reads the last hidden state before each token. Simplified: its gradient stops there, so the
weights serve the policy alone, and it is fitted to the returns ``A + V`` after the policy's step, with
an optimiser and a learning rate of its own; value predictions are not clipped.

Needs a policy with ``values`` and ``value_parameters`` (:class:`redteam_env.protocols.ValuedPolicy`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch

from algorithms.core.advantages import Array, baselines, gae, standardise, token_rewards
from algorithms.core.config import StandardisedConfig
from algorithms.core.losses import clipped_surrogate, squared_error
from algorithms.core.passes import length
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.game import Count, Game, Generation, RedteamError, Share, above
from redteam_env.protocols import Batch, TrainablePolicy, ValuedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(StandardisedConfig):
    """Settings of PPO.

    Attributes:
        clip: Width of the clipped probability ratio.
        gae_lambda: Weight of later steps in the advantage, in [0, 1].
        value_lr: AdamW's learning rate of the value heads; they are scaled so that one rate fits
            models of any width.
        value_epochs: Passes over a step's samples that fit the value heads.
    """

    clip: Annotated[float, above(0)] = 0.2
    gae_lambda: Share = 0.95
    value_lr: Annotated[float, above(0)] = 0.1
    value_epochs: Count = 2


class PPO(PolicyGradient):
    """PPO's clipped surrogate against one value head a role."""

    Config = PPOConfig

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        super().__init__(config, policy=policy, game=game, seed=seed)
        self._values: dict[str, Array] = {}
        self._targets: dict[str, Array] = {}

    def trained(self, policy: TrainablePolicy) -> dict[str, Sequence[Any]]:
        """Return the policy's weights, and each role's value head."""
        heads = {
            _head(role): _valued(policy).value_parameters(role) for role in policy.trainable_roles
        }
        return {**PolicyGradient.trained(self, policy), **heads}

    def prepare(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:
        """Predict the value before each token."""
        valued = _valued(policy)
        with torch.no_grad():
            for role, own in batches.items():
                self._values[role] = self.rowwise(partial(_values, valued, role), own)

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return standardised GAE advantages; keep the returns for the value heads."""
        raw = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            rewards = token_rewards(own.kl, own.rewards, own.mask, beta=beta)
            values = self._values[role]
            raw[role] = gae(rewards, values, own.mask, lam=self.config.gae_lambda)
            self._targets[role] = raw[role] + values
            error = np.mean(raw[role][own.mask] ** 2)
            spread = np.var(self._targets[role][own.mask])
            explained = 1 - error / spread if spread > 0 else 0.0
            self.note(role, value=float(values[own.mask].mean()), value_explained=float(explained))
        masks = {role: own.mask for role, own in batches.items()}
        result = {}
        for role, (base, scale) in baselines(raw, masks, "role", {}).items():
            result[role] = standardise(
                raw[role],
                masks[role],
                baseline=base,
                scale=scale,
                floor=self.config.scale_floor,
            )
        return result

    def loss(self, batch: Batch) -> torch.Tensor:
        """PPO's clipped surrogate, a mean over tokens."""
        return clipped_surrogate(
            batch.logprobs, batch.old, batch.advantages, batch.tokens, clip=self.config.clip
        )

    def finish(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:
        """Fit each role's value head to the returns."""
        for role, own in batches.items():
            fitted = own.with_(token_extra={"returns": self._targets[role]})
            losses = []
            for epoch in range(self.config.value_epochs):
                order = self.generator(_head(role), "epoch", epoch).permutation(len(own))
                size = self.config.minibatch or len(own)
                for start in range(0, len(order), size):
                    batch = fitted.take(order[start : start + size])
                    losses.append(self._fit(_valued(policy), batch))
            self.note(role, value_loss=float(np.mean(losses)))

    def _fit(self, policy: ValuedPolicy, minibatch: Batch) -> float:
        role, tokens = minibatch.role, int(minibatch.mask.sum())
        places = self.ranks.share([length(generation) for generation in minibatch.generations])
        total = 0.0
        for chunk in self._chunks([minibatch.generations[k] for k in places]):
            batch = minibatch.take([places[k] for k in chunk])
            found = policy.values(role, batch.generations)
            targets = found.values.new_tensor(batch.token_extra["returns"])
            loss = squared_error(found.values, targets, found.mask)
            (loss / tokens).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach()) / tokens
        self._optimisers.step(_head(role), self.config.value_lr)
        return float(sum(self.ranks.gather(total)))


def _values(policy: ValuedPolicy, role: str, generations: Sequence[Generation]) -> torch.Tensor:
    values: torch.Tensor = policy.values(role, generations).values
    return values


def _head(role: str) -> str:
    return f"value-{role}"


def _valued(policy: TrainablePolicy) -> ValuedPolicy:
    if not isinstance(policy, ValuedPolicy):
        raise RedteamError(
            f"ppo needs a policy with value heads, but {type(policy).__name__} lacks values() or "
            "value_parameters(); see redteam_env.protocols.ValuedPolicy, or train with another "
            "--algorithm."
        )
    return policy
