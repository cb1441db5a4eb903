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
and ratios are taken to the trainer's own log-probabilities from before the step, computed without
dropout. Where the sampler's are not the trainer's but for rounding (``exact_sampler`` is False), these
are computed without a cap, too, and the gap is logged.

In a run of several processes ``rowwise`` computes this process's share and returns all rows,
``passes`` yields this process's share of an optimiser step's samples, gradients are summed over the
processes before each step, and logged means are taken over all of them. A subclass that takes its
numbers from ``rowwise`` and its gradients from ``passes``, and divides these by what the whole
optimiser step holds, needs no more. With dropout each process draws masks of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from algorithms.core.advantages import Array
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.divergence import check_finite
from algorithms.core.losses import negative_log_likelihood
from algorithms.core.passes import Log, chunks, length
from algorithms.core.ranks import current
from algorithms.core.schedules import rate_share
from algorithms.core.supervised import read_examples
from redteam_env.border import algorithms as border
from redteam_env.border.policies import logprobs, publish, reference_logprobs
from redteam_env.game import Game, Generation, RedteamError
from redteam_env.protocols import AlgorithmState, Batch, Rollout, TrainablePolicy
from redteam_env.randomness import generator, integer_seed

if TYPE_CHECKING:
    import torch


class PolicyGradient(ABC):
    """What policy-gradient algorithms share.

    A subclass sets ``Config``, writes :meth:`advantages` and :meth:`loss`, and may override
    :meth:`denominator`, :meth:`entropy`, :meth:`trained`, :meth:`prepare`, :meth:`accumulate` and
    :meth:`finish`.
    ``self.ema`` is a number by role that is saved and restored; ``self.note(role, name=value)`` logs;
    ``self.rollout`` plays further games during an update (:class:`redteam_env.protocols.Rollout`).

    Attributes:
        Config: The class of its settings.
        least_group: Fewest games that must share a seed.
        whole_groups: Whether a group's samples of one role always share an optimiser step.
        distributed: That several processes may train together.
        turn_credit: Whether it can learn from turns that are credited each with its own.
        forward: What the loss asks of :meth:`TrainablePolicy.logprobs`, by keyword, such as
            ``{"with_distribution": True}`` for an exact KL. The entropy bonus asks by itself.

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
    turn_credit: ClassVar[bool] = True
    forward: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        from algorithms.core.optimiser import Optimisers

        self.config = config
        self.ranks = current()
        self.ema: dict[str, float] = {}
        self.rollout: Rollout | None = None
        self._seed = seed
        self._updates = 0
        self._policy_roles = policy.trainable_roles
        self._notes: dict[str, dict[str, float]] = {}
        self._optimisers = Optimisers(
            {name: list(tensors) for name, tensors in self.trained(policy).items()},
            max_grad_norm=config.max_grad_norm,
        )
        self._examples = read_examples(config.sft_file, policy, game) if config.sft_file else {}
        if config.sft_steps and not self._examples.keys() & set(policy.trainable_roles):
            raise RedteamError(
                f"sft_steps is {config.sft_steps}, but {config.sft_file!r} has examples for the "
                f"{' and '.join(self._examples)} only, which is not trained; add lines, or leave it out."
            )

    @abstractmethod
    def advantages(self, batches: Mapping[str, Batch]) -> Mapping[str, Array]:
        """Return the advantage of each token, for each role an array like ``batches[role].mask``."""

    @abstractmethod
    def loss(self, batch: Batch) -> "torch.Tensor":
        """Return the loss of one pass, summed; :meth:`denominator` says over what it is averaged."""

    def denominator(self, batch: Batch) -> float:
        """Return what the summed loss of some rows is divided by: their number of tokens.

        That of a minibatch is the sum over its roles.
        """
        return float(batch.mask.sum())

    def entropy(self, batch: Batch) -> "torch.Tensor":
        """Return the entropy in one pass, summed over tokens as :meth:`loss` sums its own."""
        total: torch.Tensor = (batch.entropy * batch.mask).sum()
        return total

    def objective(self, batch: Batch) -> "torch.Tensor":
        """Return what one pass's gradient is taken of: the loss less the role's entropy bonus."""
        bonus, loss = self._entropy_bonus(batch.role), border.loss(self, batch)
        total: torch.Tensor = loss - bonus * self.entropy(batch) if bonus else loss
        return total

    def _entropy_bonus(self, role: str) -> float:
        bonus: float = self.config.of_role("entropy_bonus", role)
        return bonus

    def trained(self, policy: TrainablePolicy) -> dict[str, Sequence[Any]]:
        """Return the tensors that have an optimiser, by name: the weights of all trained roles."""
        names = dict.fromkeys(policy.weights_of(role) for role in policy.trainable_roles)
        return {name: policy.parameters(name) for name in names}

    def prepare(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:  # noqa: B027 - a hook
        """Do what is to be done before advantages are computed: nothing."""

    def finish(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:  # noqa: B027 - a hook
        """Do what is to be done after the weights have changed: nothing."""

    def generator(self, *address: int | str) -> np.random.Generator:
        """Return the generator of an address within this update, of the run's seed."""
        return generator((self._seed, "update", self._updates, *address))

    def note(self, role: str, **values: float) -> None:
        """Log numbers as ``role/name``."""
        self._notes.setdefault(role, {}).update(values)

    def update(
        self,
        policy: TrainablePolicy,
        batches: Mapping[str, Batch],
        *,
        rollout: Rollout | None = None,
    ) -> Mapping[str, float]:
        """Take one training step on a batch of games.

        Args:
            policy: What is trained.
            batches: Rows by role; roles that are not trained are passed over.
            rollout: Plays further games, for methods that sample more.

        Returns:
            Metrics named ``role/what``, and ``weights/what`` for what belongs to an optimiser.

        Raises:
            RedteamError: If a reward or log-probability is not finite; the text names the game.
        """
        import torch

        own = {role: batch for role, batch in batches.items() if role in self._policy_roles}
        metrics: dict[str, float] = {}
        if not own:
            return metrics
        self.rollout = rollout
        stream = ("rank", self.ranks.rank) if self.ranks.rank else ()
        gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(gpus):
            torch.manual_seed(integer_seed((self._seed, "update", self._updates, *stream)))
            own = {role: self._compared(policy, batch, metrics) for role, batch in own.items()}
            self.prepare(policy, own)
            own = self._with_advantages(own, metrics)
            for name in dict.fromkeys(map(policy.weights_of, own)):
                behind = {role: x for role, x in own.items() if policy.weights_of(role) == name}
                self._train(policy, name, behind, metrics)
                publish(policy, name)
            self.finish(policy, own)
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

    def _compared(self, policy: TrainablePolicy, batch: Batch, metrics: dict[str, float]) -> Batch:
        """Return a batch beside the frozen reference, with clipped rewards and importance weights."""
        role = batch.role
        reference = self.rowwise(
            lambda chunk: reference_logprobs(policy, role, chunk).logprobs, batch
        )
        cap = self.config.importance_cap
        recompute = cap is not None or not getattr(policy, "exact_sampler", True)
        old = self.own_logprobs(policy, batch) if recompute else batch.sampled
        check_finite(batch, reference, old)
        limit = self.config.reward_clip
        batch = batch.with_(
            old=old, reference=reference, rewards=np.clip(batch.rewards, -limit, limit)
        )
        metrics[f"{role}/kl"] = float(batch.kl[batch.mask].mean())
        if recompute:
            gap = (old - batch.sampled)[batch.mask]
            metrics[f"{role}/importance"] = float(np.exp(gap).mean())
            metrics[f"{role}/sampler_gap"] = float(np.abs(gap).mean())
            if cap is not None:
                metrics[f"{role}/importance_capped"] = float((np.exp(gap) > cap).mean())
                return batch.with_(weights=np.minimum(np.exp(old - batch.sampled), cap))
        return batch

    def own_logprobs(self, policy: TrainablePolicy, batch: Batch) -> Array:
        """Return log-probabilities under the weights as they are, without gradients."""
        import torch

        with torch.no_grad():
            return self.rowwise(lambda chunk: logprobs(policy, batch.role, chunk).logprobs, batch)

    def rowwise(self, compute: "Callable[[list[Generation]], torch.Tensor]", batch: Batch) -> Array:
        """Compute a number for each completion token in passes of similar length.

        Args:
            compute: From some samples to a tensor (rows, longest completion).
            batch: All samples.

        Returns:
            A float64 array like ``batch.mask``, 0 off the mask.
        """
        result = np.zeros(batch.mask.shape)
        places = self.ranks.share([length(g) for g in batch.generations])
        for chunk in self._chunks([batch.generations[k] for k in places]):
            rows = [places[k] for k in chunk]
            found = compute([batch.generations[k] for k in rows])
            values = found.double().cpu().numpy()
            wide = slice(0, values.shape[1])
            result[rows, wide] = np.where(batch.mask[rows, wide], values, 0.0)
        self.ranks.add_arrays([result])
        return result

    def _chunks(self, generations: Sequence[Generation]) -> list[list[int]]:
        return chunks(generations, rows=self.config.micro_batch, tokens=self.config.micro_tokens)

    def _with_advantages(
        self, batches: Mapping[str, Batch], metrics: dict[str, float]
    ) -> dict[str, Batch]:
        advantages = border.advantages(self, batches)
        result = {}
        for role, batch in batches.items():
            self._collect_notes(metrics, role)
            values = advantages[role][batch.mask]
            metrics[f"{role}/advantage"] = float(values.mean())
            metrics[f"{role}/advantage_abs"] = float(np.abs(values).mean())
            result[role] = batch.with_(advantages=advantages[role])
        return result

    def _collect_notes(self, metrics: dict[str, float], *roles: str) -> None:
        for role in roles or tuple(self._notes):
            values = self._notes.pop(role, {})
            metrics.update({f"{role}/{name}": value for name, value in values.items()})

    def _train(
        self,
        policy: TrainablePolicy,
        name: str,
        batches: Mapping[str, Batch],
        metrics: dict[str, float],
    ) -> None:
        examples = {r: x for r, x in self._examples.items() if policy.weights_of(r) == name}
        supervised = self._updates < self.config.sft_steps
        if supervised and not examples:
            return
        rates = {role: self.config.of_role("lr", role) for role in batches}
        share = rate_share(
            self._updates,
            warmup=self.config.warmup_steps,
            schedule=self.config.lr_schedule,
            steps=self.config.lr_steps,
            floor=self.config.lr_floor,
        )
        log = Log()
        # one optimiser step has one learning rate: where the roles' differ, each step is one role's
        together = len(set(rates.values())) == 1
        pools = [batches] if together else [{role: batches[role]} for role in sorted(rates)]
        for epoch in range(self.config.epochs):
            rng = self.generator(name, "epoch", epoch)
            minibatches = [part for pool in pools for part in self._minibatches(pool, rng)]
            for k in range(len(minibatches)) if together else rng.permutation(len(minibatches)):
                if not supervised:
                    self.accumulate(policy, minibatches[k], log)
                for role in sorted(examples):
                    self._accumulate_examples(policy, role, examples[role], rng, log)
                lr = share * rates[next(iter(minibatches[k]))]
                log.add(f"{name}/grad_norm", self._optimisers.step(name, lr))
        metrics.update(log.means())
        for role, lr in rates.items():
            metrics[f"{role}/lr"] = share * lr

    def _minibatches(
        self, batches: Mapping[str, Batch], rng: np.random.Generator
    ) -> list[dict[str, Batch]]:
        """Cut rows of one optimiser's roles into minibatches, in random order."""
        units: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for role, batch in batches.items():
            for k in range(len(batch)):
                unit = int(batch.groups[k]) if self.whole_groups else k
                units.setdefault((role, unit), []).append((role, k))
        pieces = list(units.values())
        size = self.config.minibatch or sum(map(len, pieces))
        minibatches: list[list[tuple[str, int]]] = []
        for k in rng.permutation(len(pieces)):
            if minibatches and len(minibatches[-1]) + len(pieces[k]) <= size:
                minibatches[-1] += pieces[k]
            else:
                minibatches.append(list(pieces[k]))
        return [
            {
                role: batches[role].take([k for r, k in places if r == role])
                for role in dict.fromkeys(role for role, _ in places)
            }
            for places in minibatches
        ]

    def accumulate(self, policy: TrainablePolicy, minibatch: Mapping[str, Batch], log: Log) -> None:
        """Add the gradient of one optimiser step's samples, of this process's share of them.

        One of an algorithm's own takes :meth:`objective`, not the loss alone.
        """
        whole = sum(self.denominator(batch) for batch in minibatch.values())
        for batch in self.passes(policy, minibatch):
            loss = self.objective(batch)
            (loss / whole).backward()  # type: ignore[no-untyped-call]
            log.tokens(
                batch,
                clip=getattr(self.config, "clip", None),
                loss=loss,
                share=self.denominator(batch),
            )

    def passes(self, policy: TrainablePolicy, minibatch: Mapping[str, Batch]) -> Iterator[Batch]:
        """Yield samples, role by role, with their log-probabilities under the current weights.

        In a run of several processes these are this process's share of them.
        """
        places = [(role, k) for role, batch in minibatch.items() for k in range(len(batch))]
        share = self.ranks.share([length(minibatch[role].generations[k]) for role, k in places])
        for role in sorted(minibatch):
            bonus = {"with_entropy": True} if self._entropy_bonus(role) else {}
            rows = [k for r, k in (places[n] for n in share) if r == role]
            for chunk in self._chunks([minibatch[role].generations[k] for k in rows]):
                batch = minibatch[role].take([rows[k] for k in chunk])
                found = logprobs(policy, role, batch.generations, **{**self.forward, **bonus})
                yield batch.in_pass(found)

    def _accumulate_examples(
        self,
        policy: TrainablePolicy,
        role: str,
        examples: Sequence[Generation],
        rng: np.random.Generator,
        log: Log,
    ) -> None:
        size = min(self.config.sft_batch, len(examples))
        chosen = [examples[k] for k in rng.choice(len(examples), size, replace=False)]
        tokens = sum(len(example.completion_ids) for example in chosen)
        own = [chosen[k] for k in self.ranks.share([length(example) for example in chosen])]
        total = 0.0
        for chunk in self._chunks(own):
            found = logprobs(policy, role, [own[k] for k in chunk])
            loss = negative_log_likelihood(found.logprobs, found.mask) / tokens
            (self.config.sft_coefficient * loss).backward()
            total += float(loss.detach())
        log.add(f"{role}/sft_loss", total * self.ranks.world)
