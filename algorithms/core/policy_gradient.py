"""The engine under all policy-gradient algorithms: an algorithm adds its advantages and its loss.

It checks numbers, computes log-probabilities under the frozen reference, cuts samples into
minibatches and these into passes of similar length, keeps one optimiser for each named weights (so
the same code trains shared weights and one adapter a role), learning rates and KL coefficients by
role, warm-up, the optional supervised term, metrics and state.

Write an algorithm as a subclass of :class:`PolicyGradient` with a ``Config`` of its own and the two
methods ``advantages`` and ``loss``; ``rloo.py`` is a short example.

Truncated importance sampling (``importance_cap``; "Your Efficient RL Framework Secretly Brings You
Off-Policy RL Training", Yao et al. 2025): a sampler may give other log-probabilities than the
trainer. With a cap C, each token weighs ``min(pi_trainer / pi_sampler, C)``, constant over the step,
and ratios are taken to the trainer's own log-probabilities from before the step (computed as in
training, so with dropout where there is some). Where the policy's sampler is another program than the
trainer (``exact_sampler`` is False), these are computed without a cap, too, and the gap is logged.

In a run of several processes ``rowwise`` computes this process's share and returns all rows,
``passes`` yields this process's share of an optimiser step's samples, gradients are summed over the
processes before each step, and logged means are taken over all of them. A subclass that takes its
numbers from ``rowwise`` and its gradients from ``passes``, and divides these by what the whole
optimiser step holds, needs no more. With dropout each process draws masks of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from algorithms.core.advantages import Array
from algorithms.core.losses import negative_log_likelihood
from algorithms.core.optimiser import Optimisers
from algorithms.core.ranks import current
from algorithms.core.supervised import read_examples
from algorithms.core.turns import Batch, Log, Row, Turns, chunks, length
from redteam_env.game import (
    Count,
    Game,
    Generation,
    RedteamError,
    above,
    at_least,
    check_fields,
)
from redteam_env.protocols import AlgorithmState, RoleBatch, Sample, TrainablePolicy
from redteam_env.randomness import generator, integer_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGradientConfig:
    """Settings that all policy-gradient algorithms share.

    Attributes:
        lr: AdamW's learning rate. Self-RedTeam trains whole models at 5e-7; LoRA needs 10-100
            times that.
        attacker_lr: The attacker's, if it differs.
        defender_lr: The defender's, if it differs.
        kl: Coefficient of the KL penalty, reward per nat.
        attacker_kl: The attacker's, if it differs.
        defender_kl: The defender's, if it differs.
        reward_clip: Rewards are clipped to this, up and down.
        epochs: Passes over a step's samples.
        minibatch: Samples in one optimiser step.
        micro_batch: Most samples in one forward pass; changes memory, not the gradient.
        micro_tokens: Most tokens in one forward pass, padding included (but at least one sample);
            changes memory, not the gradient.
        max_grad_norm: Gradients are scaled down to this norm.
        warmup_steps: Steps over which the learning rate rises linearly.
        importance_cap: Weigh each token by trainer's over sampler's probability, at most this (2.0
            is usual); by default off.
        sft_file: JSON-lines file of supervised examples for the defender, each with prompt and
            response.
        sft_coefficient: Weight of the supervised loss, per token, beside the game's.
        sft_batch: Supervised examples in one optimiser step.
    """

    lr: Annotated[float, at_least(0)] = 5e-5
    attacker_lr: Annotated[float | None, at_least(0)] = None
    defender_lr: Annotated[float | None, at_least(0)] = None
    kl: Annotated[float, at_least(0)] = 0.01
    attacker_kl: Annotated[float | None, at_least(0)] = None
    defender_kl: Annotated[float | None, at_least(0)] = None
    reward_clip: Annotated[float, above(0)] = 10.0
    epochs: Count = 1
    minibatch: Count = 32
    micro_batch: Count = 64
    micro_tokens: Count = 2048
    max_grad_norm: Annotated[float, above(0)] = 1.0
    warmup_steps: Annotated[int, at_least(0)] = 0
    importance_cap: Annotated[float | None, above(0)] = None
    sft_file: str | None = None
    sft_coefficient: Annotated[float, above(0)] = 1.0
    sft_batch: Count = 8

    def __post_init__(self) -> None:
        check_fields(self)

    def of_role(self, what: Literal["lr", "kl"], role: str) -> float:
        """Return a role's learning rate or KL coefficient."""
        own = getattr(self, f"{role}_{what}", None)
        return float(getattr(self, what) if own is None else own)


class PolicyGradient(ABC):
    """What policy-gradient algorithms share.

    A subclass sets ``Config``, writes :meth:`advantages` and :meth:`loss`, and may override
    :meth:`denominator`, :meth:`trained`, :meth:`prepare`, :meth:`accumulate` and :meth:`finish`.
    ``self.ema`` is a number by role that is saved and restored; ``self.note(role, name=value)`` logs.

    Attributes:
        Config: The class of its settings.
        least_group: Fewest games that must share a seed.
        whole_groups: Whether a group's samples of one role always share an optimiser step.
        distributed: That several processes may train together.

    Args:
        config: Settings.
        policy: What is trained.
        game: The rules, for the prompts of supervised examples.
        seed: Seed of minibatch order and dropout.
    """

    Config: ClassVar[Any] = PolicyGradientConfig
    least_group: ClassVar[int] = 1
    whole_groups: ClassVar[bool] = False
    distributed: ClassVar[bool] = True

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        self.config = config
        self.ranks = current()
        self.ema: dict[str, float] = {}
        self._seed = seed
        self._updates = 0
        self._policy_roles = policy.trainable_roles
        self._notes: dict[str, dict[str, float]] = {}
        self._optimisers = Optimisers(
            {name: list(tensors) for name, tensors in self.trained(policy).items()},
            max_grad_norm=config.max_grad_norm,
        )
        self._examples = read_examples(config.sft_file, policy, game) if config.sft_file else []

    @abstractmethod
    def advantages(self, turns: Mapping[str, Turns]) -> Mapping[str, Array]:
        """Return the advantage of each token, for each role an array like ``turns[role].mask``."""

    @abstractmethod
    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of one pass, summed; :meth:`denominator` says over what it is averaged."""

    def denominator(self, rows: Sequence[Row]) -> float:
        """Return what the summed loss of some samples is divided by: their number of tokens."""
        return sum(len(row.advantages) for row in rows)

    def trained(self, policy: TrainablePolicy) -> dict[str, Sequence[Any]]:
        """Return the tensors that have an optimiser, by name: the weights of all trained roles."""
        names = dict.fromkeys(policy.weights_of(role) for role in policy.trainable_roles)
        return {name: policy.parameters(name) for name in names}

    def prepare(self, policy: TrainablePolicy, turns: Mapping[str, Turns]) -> None:  # noqa: B027 - a hook
        """Do what is to be done before advantages are computed: nothing."""

    def finish(self, policy: TrainablePolicy, turns: Mapping[str, Turns]) -> None:  # noqa: B027 - a hook
        """Do what is to be done after the weights have changed: nothing."""

    def generator(self, *address: int | str) -> np.random.Generator:
        """Return the generator of an address within this update, of the run's seed."""
        return generator((self._seed, "update", self._updates, *address))

    def note(self, role: str, **values: float) -> None:
        """Log numbers as ``role/name``."""
        self._notes.setdefault(role, {}).update(values)

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
        stream = ("rank", self.ranks.rank) if self.ranks.rank else ()
        gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(gpus):
            torch.manual_seed(integer_seed((self._seed, "update", self._updates, *stream)))
            turns = {
                role: self._turns(policy, role, samples, metrics)
                for role, samples in trained.items()
            }
            self.prepare(policy, turns)
            rows = self._rows(turns, self.advantages(turns), metrics)
            for name in dict.fromkeys(policy.weights_of(role) for role in trained):
                own = [row for row in rows if policy.weights_of(row.role) == name]
                self._train(policy, name, own, metrics)
                policy.publish(name)
            self.finish(policy, turns)
            self._collect_notes(metrics)
        self._updates += 1
        return metrics

    def state(self) -> AlgorithmState:
        """Return the optimisers' moments, the running baselines and the update count."""
        return AlgorithmState(
            tensors=self._optimisers.state(),
            values={"updates": self._updates, "ema": dict(self.ema)},
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
        self.ema = {role: float(value) for role, value in state.values["ema"].items()}

    def _turns(
        self,
        policy: TrainablePolicy,
        role: str,
        samples: Sequence[Sample],
        metrics: dict[str, float],
    ) -> Turns:
        generations = [sample.generation for sample in samples]
        reference = self.rowwise(
            lambda chunk: policy.reference_logprobs(role, chunk).logprobs, generations
        )
        cap = self.config.importance_cap
        recompute = cap is not None or not getattr(policy, "exact_sampler", True)
        own = self.own_logprobs(policy, role, generations) if recompute else None
        turns = Turns.of(samples, reference, own, reward_clip=self.config.reward_clip)
        metrics[f"{role}/kl"] = float(turns.kl[turns.mask].mean())
        if own is not None:
            gap = (turns.old - turns.sampled)[turns.mask]
            metrics[f"{role}/importance"] = float(np.exp(gap).mean())
            metrics[f"{role}/sampler_gap"] = float(np.abs(gap).mean())
            if cap is not None:
                metrics[f"{role}/importance_capped"] = float((np.exp(gap) > cap).mean())
        return turns

    def own_logprobs(
        self, policy: TrainablePolicy, role: str, generations: Sequence[Generation]
    ) -> list[Array]:
        """Return log-probabilities under the weights as they are, without gradients."""
        with torch.no_grad():
            return self.rowwise(lambda chunk: policy.logprobs(role, chunk).logprobs, generations)

    def rowwise(
        self,
        compute: Callable[[list[Generation]], torch.Tensor],
        generations: Sequence[Generation],
    ) -> list[Array]:
        """Compute a number for each completion token in passes of similar length.

        Args:
            compute: From some samples to a tensor (rows, longest completion).
            generations: All samples.

        Returns:
            One float64 array for each sample, as long as its completion.
        """
        result = [np.zeros(len(g.completion_ids)) for g in generations]
        places = self.ranks.share([length(g) for g in generations])
        for chunk in self._chunks([generations[k] for k in places]):
            found = compute([generations[places[k]] for k in chunk])
            values = found.double().cpu().numpy()
            for row, k in enumerate(chunk):
                result[places[k]][:] = values[row, : len(result[places[k]])]
        self.ranks.add([torch.from_numpy(row) for row in result])
        return result

    def _chunks(self, generations: Sequence[Generation]) -> list[list[int]]:
        return chunks(generations, rows=self.config.micro_batch, tokens=self.config.micro_tokens)

    def _rows(
        self,
        turns: Mapping[str, Turns],
        advantages: Mapping[str, Array],
        metrics: dict[str, float],
    ) -> list[Row]:
        rows = []
        for role, own in turns.items():
            values = advantages[role]
            self._collect_notes(metrics, role)
            metrics[f"{role}/advantage"] = float(values[own.mask].mean())
            metrics[f"{role}/advantage_abs"] = float(np.abs(values[own.mask]).mean())
            rows += own.rows(role, values, self.config.importance_cap)
        return rows

    def _collect_notes(self, metrics: dict[str, float], *roles: str) -> None:
        for role in roles or tuple(self._notes):
            values = self._notes.pop(role, {})
            metrics.update({f"{role}/{name}": value for name, value in values.items()})

    def _train(
        self, policy: TrainablePolicy, name: str, rows: list[Row], metrics: dict[str, float]
    ) -> None:
        rates = {role: self.config.of_role("lr", role) for role in {row.role for row in rows}}
        warmup = min(1.0, (self._updates + 1) / max(1, self.config.warmup_steps))
        log = Log()
        # one optimiser step has one learning rate: where the roles' differ, each step is one role's
        together = len(set(rates.values())) == 1
        pools = [rows] if together else [[x for x in rows if x.role == r] for r in sorted(rates)]
        for epoch in range(self.config.epochs):
            rng = self.generator(name, "epoch", epoch)
            batches = [batch for pool in pools for batch in self._minibatches(pool, rng)]
            for k in range(len(batches)) if together else rng.permutation(len(batches)):
                self.accumulate(policy, batches[k], log)
                self._accumulate_examples(policy, name, rng, log)
                lr = warmup * rates[batches[k][0].role]
                log.add(f"{name}/grad_norm", self._optimisers.step(name, lr))
        metrics.update(log.means())
        for role, lr in rates.items():
            metrics[f"{role}/lr"] = warmup * lr

    def _minibatches(self, rows: list[Row], rng: np.random.Generator) -> list[list[Row]]:
        units: list[list[Row]] = [[row] for row in rows]
        if self.whole_groups:
            groups: dict[tuple[str, int], list[Row]] = {}
            for row in rows:
                groups.setdefault((row.role, row.group), []).append(row)
            units = list(groups.values())
        batches: list[list[Row]] = []
        for k in rng.permutation(len(units)):
            if batches and len(batches[-1]) + len(units[k]) <= self.config.minibatch:
                batches[-1] += units[k]
            else:
                batches.append(list(units[k]))
        return batches

    def accumulate(self, policy: TrainablePolicy, rows: Sequence[Row], log: Log) -> None:
        """Add the gradient of one optimiser step's samples, of this process's share of them."""
        whole = self.denominator(rows)
        for batch in self.passes(policy, rows):
            loss = self.loss(batch)
            (loss / whole).backward()  # type: ignore[no-untyped-call]
            log.tokens(
                batch,
                clip=getattr(self.config, "clip", None),
                loss=loss,
                share=self.denominator(batch.rows),
            )

    def passes(self, policy: TrainablePolicy, rows: Sequence[Row]) -> Iterator[Batch]:
        """Yield samples, role by role, with their log-probabilities under the current weights.

        In a run of several processes these are this process's share of them.
        """
        shared = [rows[k] for k in self.ranks.share([length(row.generation) for row in rows])]
        for role in sorted({row.role for row in shared}):
            own = [row for row in shared if row.role == role]
            for chunk in self._chunks([row.generation for row in own]):
                micro = [own[k] for k in chunk]
                yield Batch.of(role, micro, policy.logprobs(role, [r.generation for r in micro]))

    def _accumulate_examples(
        self, policy: TrainablePolicy, name: str, rng: np.random.Generator, log: Log
    ) -> None:
        if not self._examples or policy.weights_of("defender") != name:
            return
        size = min(self.config.sft_batch, len(self._examples))
        chosen = [self._examples[k] for k in rng.choice(len(self._examples), size, replace=False)]
        tokens = sum(len(example.completion_ids) for example in chosen)
        own = [chosen[k] for k in self.ranks.share([length(example) for example in chosen])]
        total = 0.0
        for chunk in self._chunks(own):
            found = policy.logprobs("defender", [own[k] for k in chunk])
            loss = negative_log_likelihood(found.logprobs, found.mask) / tokens
            (self.config.sft_coefficient * loss).backward()
            total += float(loss.detach())
        log.add("defender/sft_loss", total * self.ranks.world)
