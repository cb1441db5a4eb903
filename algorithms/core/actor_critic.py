"""Algorithms with a critic: a value head per role, GAE, and the heads' fit to the returns.

The advantage of a token is GAE's (arXiv 1506.02438, eq. 16, discount 1) of the KL penalty on each token
and, on the last one, the game's clipped reward, against the values of the role's own head; it is
standardised over the role's tokens. What the head reads is :meth:`ActorCritic.seen`: what the seat saw, or
more than that.

The head reads the last hidden state before each token. Simplified: its gradient stops there, so the
weights serve the policy alone, and it is fitted to the returns ``A + V`` after the policy's step, with
an optimiser and a learning rate of its own; value predictions are not clipped.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from algorithms.core.advantages import Array, baselines, gae, standardise, token_rewards
from algorithms.core.config import ActorCriticConfig
from algorithms.core.losses import squared_error
from algorithms.core.passes import length
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env.border.policies import values
from redteam_env.game import Game, Generation, RedteamError
from redteam_env.protocols import Batch, TrainablePolicy, ValuedPolicy


class ActorCritic(PolicyGradient):
    """What algorithms with one value head a role share; a subclass adds its loss.

    Needs a policy with ``values`` and ``value_parameters`` (:class:`redteam_env.protocols.ValuedPolicy`).
    """

    Config: ClassVar[Any] = ActorCriticConfig

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        super().__init__(config, policy=policy, game=game, seed=seed)
        self._seen: dict[str, Batch] = {}
        self._values: dict[str, Array] = {}
        self._targets: dict[str, Array] = {}

    def seen(self, policy: TrainablePolicy, batch: Batch) -> Batch:  # noqa: ARG002 - for subclasses
        """Return the rows as the critic reads them: the same completions, here after the seat's own prompts."""
        return batch

    def trained(self, policy: TrainablePolicy) -> dict[str, Sequence[Any]]:
        """Return the policy's weights, and each role's value head."""
        valued = self._valued(policy)
        heads = {_head(role): valued.value_parameters(role) for role in policy.trainable_roles}
        return {**super().trained(policy), **heads}

    def prepare(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:
        """Predict the value before each token."""
        valued = self._valued(policy)
        self._seen = {role: self.seen(policy, own) for role, own in batches.items()}
        with torch.no_grad():
            for role, seen in self._seen.items():
                self._values[role] = self.rowwise(partial(_values, valued, role), seen)

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return standardised GAE advantages; keep the returns for the value heads."""
        raw = {}
        for role, own in batches.items():
            beta = self.config.of_role("kl", role)
            rewards = token_rewards(own.kl, own.rewards, own.mask, beta=beta)
            expected = self._values[role]
            raw[role] = gae(rewards, expected, own.mask, lam=self.config.gae_lambda)
            self._targets[role] = raw[role] + expected
            error = np.mean(raw[role][own.mask] ** 2)
            spread = np.var(self._targets[role][own.mask])
            explained = 1 - error / spread if spread > 0 else 0.0
            self.note(
                role, value=float(expected[own.mask].mean()), value_explained=float(explained)
            )
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

    def finish(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:
        """Fit each role's value head to the returns."""
        for role in batches:
            fitted = self._seen[role].with_(token_extra={"returns": self._targets[role]})
            losses = []
            for epoch in range(self.config.value_epochs):
                order = self.generator(_head(role), "epoch", epoch).permutation(len(fitted))
                size = self.config.minibatch or len(fitted)
                for start in range(0, len(order), size):
                    batch = fitted.take(order[start : start + size])
                    losses.append(self._fit(self._valued(policy), batch))
            self.note(role, value_loss=float(np.mean(losses)))

    def _fit(self, policy: ValuedPolicy, minibatch: Batch) -> float:
        role, tokens = minibatch.role, int(minibatch.mask.sum())
        places = self.ranks.share([length(generation) for generation in minibatch.generations])
        total = 0.0
        for chunk in self._chunks([minibatch.generations[k] for k in places]):
            batch = minibatch.take([places[k] for k in chunk])
            found = values(policy, role, batch.generations)
            targets = found.values.new_tensor(batch.token_extra["returns"])
            loss = squared_error(found.values, targets, found.mask)
            (loss / tokens).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach()) / tokens
        self._optimisers.step(_head(role), self.config.value_lr)
        return float(sum(self.ranks.gather(total)))

    def _valued(self, policy: TrainablePolicy) -> ValuedPolicy:
        if not isinstance(policy, ValuedPolicy):
            raise RedteamError(
                f"{type(self).__name__} needs a policy with value heads, but {type(policy).__name__} "
                "lacks values() or value_parameters(); see redteam_env.protocols.ValuedPolicy, or train "
                "with another --algorithm."
            )
        return policy


def _values(policy: ValuedPolicy, role: str, generations: Sequence[Generation]) -> torch.Tensor:
    found: torch.Tensor = values(policy, role, generations).values
    return found


def _head(role: str) -> str:
    return f"value-{role}"
