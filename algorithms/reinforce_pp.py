"""REINFORCE++ for two roles (arXiv 2501.03262), as Self-RedTeam uses it (arXiv 2506.07468, sec. 3).

Per token, ``-beta * (log pi - log ref)`` (k1) plus, on the last token, the game's clipped reward;
rewards-to-go with discount 1; no critic; advantages standardised over the batch separately per role;
PPO's clipped surrogate. Ours beside the paper: the choice of baseline, learning rate and KL
coefficient per role, and one optimiser for each named weights, so the same code trains shared
weights and one adapter a role. The optional supervised term is Self-RedTeam's (coefficient 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from algorithms.advantages import (
    Array,
    Baseline,
    baselines,
    pad,
    reward_to_go,
    standardise,
    token_rewards,
)
from algorithms.losses import clipped_surrogate, negative_log_likelihood
from algorithms.optimiser import Optimisers
from algorithms.supervised import read_examples
from redteam_env.game import Game, Generation, RedteamError, unknown_name
from redteam_env.protocols import AlgorithmState, RoleBatch, Sample, TrainablePolicy
from redteam_env.randomness import generator, integer_seed

EMA_DECAY = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcePPConfig:
    """Settings of REINFORCE++.

    Attributes:
        lr: AdamW's learning rate. Self-RedTeam trains whole models at 5e-7; LoRA needs 10-100
            times that.
        attacker_lr: The attacker's, if it differs.
        defender_lr: The defender's, if it differs.
        kl: Coefficient of the KL penalty, reward per nat.
        attacker_kl: The attacker's, if it differs.
        defender_kl: The defender's, if it differs.
        baseline: What returns are compared with: role (their mean per role), batch (over all
            roles), ema (running mean per role), none.
        clip: Width of the clipped probability ratio.
        reward_clip: Rewards are clipped to this, up and down.
        epochs: Passes over a step's samples.
        minibatch: Samples in one optimiser step.
        micro_batch: Samples in one forward pass; changes memory, not the gradient.
        max_grad_norm: Gradients are scaled down to this norm.
        warmup_steps: Steps over which the learning rate rises linearly.
        sft_file: JSON-lines file of supervised examples for the defender, each with prompt and
            response.
        sft_coefficient: Weight of the supervised loss, per token, beside the game's.
        sft_batch: Supervised examples in one optimiser step.
    """

    lr: float = 5e-5
    attacker_lr: float | None = None
    defender_lr: float | None = None
    kl: float = 0.01
    attacker_kl: float | None = None
    defender_kl: float | None = None
    baseline: Literal["role", "batch", "ema", "none"] = "role"
    clip: float = 0.2
    reward_clip: float = 10.0
    epochs: int = 1
    minibatch: int = 32
    micro_batch: int = 8
    max_grad_norm: float = 1.0
    warmup_steps: int = 0
    sft_file: str | None = None
    sft_coefficient: float = 1.0
    sft_batch: int = 8

    def __post_init__(self) -> None:
        for name in ("lr", "attacker_lr", "defender_lr", "kl", "attacker_kl", "defender_kl"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise RedteamError(f"{name} is {value}; give a finite number >= 0.")
        for name in ("clip", "reward_clip", "max_grad_norm", "sft_coefficient"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RedteamError(f"{name} is {getattr(self, name)}; give a number > 0.")
        for name in ("epochs", "minibatch", "micro_batch", "sft_batch"):
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")
        if self.warmup_steps < 0:
            raise RedteamError(f"warmup_steps is {self.warmup_steps}; give 0 or more.")
        if self.baseline not in get_args(Baseline):
            raise unknown_name("baseline", self.baseline, get_args(Baseline))

    def of_role(self, what: Literal["lr", "kl"], role: str) -> float:
        """Return a role's learning rate or KL coefficient."""
        own = getattr(self, f"{role}_{what}", None)
        return float(getattr(self, what) if own is None else own)


@dataclass(frozen=True, slots=True)
class _Row:
    """One sample with its role and the advantage of each of its tokens."""

    role: str
    generation: Generation
    advantages: Array


class ReinforcePP:
    """REINFORCE++ with one optimiser for each named weights.

    Args:
        config: Settings.
        policy: What is trained.
        game: The rules, for the prompts of supervised examples.
        seed: Seed of minibatch order and dropout.
    """

    Config = ReinforcePPConfig

    def __init__(
        self, config: ReinforcePPConfig, *, policy: TrainablePolicy, game: Game, seed: int
    ) -> None:
        self._config = config
        self._seed = seed
        self._updates = 0
        self._ema: dict[str, float] = {}
        self._policy_roles = policy.trainable_roles
        names = dict.fromkeys(policy.weights_of(role) for role in policy.trainable_roles)
        self._optimisers = Optimisers(
            {name: policy.parameters(name) for name in names}, max_grad_norm=config.max_grad_norm
        )
        self._examples = read_examples(config.sft_file, policy, game) if config.sft_file else []

    def update(
        self, policy: TrainablePolicy, batches: Mapping[str, RoleBatch]
    ) -> Mapping[str, float]:
        """Take one training step on a batch of games.

        Args:
            policy: What is trained.
            batches: Samples by role; roles that are not trained are passed over.

        Returns:
            Metrics named ``role/what``, and ``weights/what`` for what belongs to an optimiser.

        Raises:
            RedteamError: If a reward or log-probability is not finite; the text names the game.
        """
        trained = {
            r: b.samples for r, b in batches.items() if r in self._policy_roles and b.samples
        }
        metrics: dict[str, float] = {}
        if not trained:
            return metrics
        with torch.random.fork_rng():
            torch.manual_seed(integer_seed((self._seed, "update", self._updates)))
            rows = self._advantages(policy, trained, metrics)
            for name in dict.fromkeys(policy.weights_of(role) for role in trained):
                own = [row for row in rows if policy.weights_of(row.role) == name]
                self._train(policy, name, own, metrics)
                policy.publish(name)
        self._updates += 1
        return metrics

    def state(self) -> AlgorithmState:
        """Return the optimisers' moments, the running baselines and the update count."""
        return AlgorithmState(
            tensors=self._optimisers.state(),
            values={"updates": self._updates, "ema": dict(self._ema)},
        )

    def load_state(self, state: AlgorithmState) -> None:
        """Go back to a state that :meth:`state` returned.

        Raises:
            RedteamError: If it does not fit these weights, or has updates but no optimiser.
        """
        if state.values["updates"] and not state.tensors:
            raise RedteamError(
                f"The optimiser state is empty after {state.values['updates']} updates; training "
                "would not go on as it was. Resume from another checkpoint."
            )
        self._optimisers.load_state(state.tensors)
        self._updates = int(state.values["updates"])
        self._ema = {role: float(value) for role, value in state.values["ema"].items()}

    def _advantages(
        self,
        policy: TrainablePolicy,
        trained: Mapping[str, Sequence[Sample]],
        metrics: dict[str, float],
    ) -> list[_Row]:
        returns: dict[str, Array] = {}
        masks: dict[str, Array] = {}
        for role, samples in trained.items():
            old, mask = pad([np.asarray(s.generation.logprobs) for s in samples])
            reference, _ = pad(self._reference(policy, role, [s.generation for s in samples]))
            rewards = np.asarray([s.reward for s in samples])
            _check_finite(samples, old, reference, rewards)
            kl = old - reference
            beta = self._config.of_role("kl", role)
            per_token = token_rewards(
                kl, rewards, mask, beta=beta, reward_clip=self._config.reward_clip
            )
            returns[role], masks[role] = reward_to_go(per_token, mask), mask
            metrics[f"{role}/kl"] = float(kl[mask].mean())
        chosen = baselines(returns, masks, self._config.baseline, self._ema)
        rows = []
        for role, samples in trained.items():
            base, scale = chosen[role]
            advantages = standardise(returns[role], masks[role], baseline=base, scale=scale)
            metrics[f"{role}/baseline"] = base
            metrics[f"{role}/return_scale"] = scale
            metrics[f"{role}/advantage"] = float(advantages[masks[role]].mean())
            metrics[f"{role}/advantage_abs"] = float(np.abs(advantages[masks[role]]).mean())
            mean = float(returns[role][masks[role]].mean())
            self._ema[role] = EMA_DECAY * self._ema.get(role, 0.0) + (1 - EMA_DECAY) * mean
            rows += [
                _Row(role, sample.generation, advantages[k, masks[role][k]])
                for k, sample in enumerate(samples)
            ]
        return rows

    def _reference(
        self, policy: TrainablePolicy, role: str, generations: Sequence[Generation]
    ) -> list[Array]:
        result: list[Array] = [np.zeros(0)] * len(generations)
        order = sorted(range(len(generations)), key=lambda k: _length(generations[k]))
        size = self._config.micro_batch
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            found = policy.reference_logprobs(role, [generations[k] for k in chunk])
            values = found.logprobs.double().cpu().numpy()
            for row, k in enumerate(chunk):
                result[k] = values[row, : len(generations[k].completion_ids)]
        return result

    def _train(
        self, policy: TrainablePolicy, name: str, rows: list[_Row], metrics: dict[str, float]
    ) -> None:
        rates = {role: self._config.of_role("lr", role) for role in {row.role for row in rows}}
        warmup = min(1.0, (self._updates + 1) / max(1, self._config.warmup_steps))
        log = _Log()
        # one optimiser step has one learning rate: where the roles' differ, each step is one role's
        together = len(set(rates.values())) == 1
        pools = [rows] if together else [[x for x in rows if x.role == r] for r in sorted(rates)]
        for epoch in range(self._config.epochs):
            rng = generator((self._seed, "update", self._updates, name, "epoch", epoch))
            batches = [batch for pool in pools for batch in self._minibatches(pool, rng)]
            for k in range(len(batches)) if together else rng.permutation(len(batches)):
                self._accumulate(policy, batches[k], log)
                self._accumulate_examples(policy, name, rng, log)
                lr = warmup * rates[batches[k][0].role]
                log.add(f"{name}/grad_norm", self._optimisers.step(name, lr))
        metrics.update(log.means())
        for role, lr in rates.items():
            metrics[f"{role}/lr"] = warmup * lr

    def _minibatches(self, rows: list[_Row], rng: np.random.Generator) -> list[list[_Row]]:
        order = rng.permutation(len(rows))
        size = self._config.minibatch
        return [[rows[k] for k in order[i : i + size]] for i in range(0, len(order), size)]

    def _accumulate(self, policy: TrainablePolicy, batch: list[_Row], log: "_Log") -> None:
        tokens = sum(len(row.advantages) for row in batch)
        ordered = sorted(batch, key=lambda row: (row.role, _length(row.generation)))
        for role in dict.fromkeys(row.role for row in ordered):
            own = [row for row in ordered if row.role == role]
            for start in range(0, len(own), self._config.micro_batch):
                micro = own[start : start + self._config.micro_batch]
                found = policy.logprobs(role, [row.generation for row in micro])
                old = _like(found.logprobs, [np.asarray(r.generation.logprobs) for r in micro])
                advantages = _like(found.logprobs, [row.advantages for row in micro])
                loss = clipped_surrogate(
                    found.logprobs, old, advantages, found.mask, clip=self._config.clip
                )
                (loss / tokens).backward()  # type: ignore[no-untyped-call]
                self._log_tokens(log, role, found, old, float(loss.detach()))

    def _log_tokens(
        self, log: "_Log", role: str, found: Any, old: torch.Tensor, loss: float
    ) -> None:
        mask = found.mask
        with torch.no_grad():
            gap = (found.logprobs - old)[mask]
            ratio = gap.exp()
            clipped = (ratio - 1).abs() > self._config.clip
            count = int(mask.sum())
            log.add(f"{role}/loss", loss / count, count)
            log.add(f"{role}/entropy", float(found.entropy[mask].mean()), count)
            log.add(f"{role}/ratio", float(ratio.mean()), count)
            log.add(f"{role}/clip_fraction", float(clipped.float().mean()), count)
            log.add(f"{role}/logprob_gap", float(gap.abs().mean()), count)

    def _accumulate_examples(
        self, policy: TrainablePolicy, name: str, rng: np.random.Generator, log: "_Log"
    ) -> None:
        if not self._examples or policy.weights_of("defender") != name:
            return
        size = min(self._config.sft_batch, len(self._examples))
        chosen = [self._examples[k] for k in rng.choice(len(self._examples), size, replace=False)]
        tokens = sum(len(example.completion_ids) for example in chosen)
        total = 0.0
        for start in range(0, size, self._config.micro_batch):
            micro = chosen[start : start + self._config.micro_batch]
            found = policy.logprobs("defender", micro)
            loss = negative_log_likelihood(found.logprobs, found.mask) / tokens
            (self._config.sft_coefficient * loss).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        log.add("defender/sft_loss", total)


class _Log:
    """Weighted means of what is measured in several passes."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        total, count = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (total + value * weight, count + weight)

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self._sums.items()}


def _length(generation: Generation) -> int:
    return len(generation.prompt_ids) + len(generation.completion_ids)


def _like(tensor: torch.Tensor, rows: list[Array]) -> torch.Tensor:
    return torch.from_numpy(pad(rows)[0]).to(tensor)


def _check_finite(samples: Sequence[Sample], old: Array, reference: Array, rewards: Array) -> None:
    rows = np.isfinite(old).all(1) & np.isfinite(reference).all(1) & np.isfinite(rewards)
    if not rows.all():
        bad = samples[int(np.argmin(rows))]
        raise RedteamError(
            f"Game {bad.path} has a reward of {bad.reward} or log-probabilities that are not "
            "finite; nothing was trained on it. Look at its episode; resume from the last "
            "checkpoint with a lower learning rate."
        )
