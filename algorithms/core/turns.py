"""What an algorithm sees of a step: a role's turns as arrays, and passes through the model as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from algorithms.core.advantages import Array, pad
from algorithms.core.divergence import CURE
from algorithms.core.ranks import current
from redteam_env.game import Generation, RedteamError
from redteam_env.protocols import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sample with what training on it needs, an entry a token.

    Attributes:
        role: Whose it is.
        sample: The sample.
        advantages: Advantage of each token.
        old: Log-probabilities that ratios are taken to.
        reference: Log-probabilities under the frozen reference.
        weights: Importance weights, or ``None`` for 1.
        game: Number of its game among those of its role.
    """

    role: str
    sample: Sample
    advantages: Array
    old: Array
    reference: Array
    weights: Array | None
    game: int

    @property
    def generation(self) -> Generation:
        """Prompt and completion tokens."""
        return self.sample.generation

    @property
    def group(self) -> int:
        """Games of one group share the seed."""
        return self.sample.group

    @property
    def key(self) -> tuple[str, int]:
        """Its role and its game."""
        return self.role, self.game


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """All samples of one role in a step; float64, shape (rows, longest completion) where not said.

    Attributes:
        samples: The samples, a row each.
        mask: Completion tokens, at the left of each row.
        sampled: Log-probabilities under the sampler.
        old: Log-probabilities that ratios are taken to: the sampler's or, with importance
            sampling, the trainer's own.
        reference: Log-probabilities under the frozen reference.
        rewards: The clipped reward of each row's game, shape (rows,).
        games: Number of each row's game; several turns of one game share it, shape (rows,).
        groups: Number of each row's group of games with one seed, shape (rows,).
    """

    samples: tuple[Sample, ...]
    mask: Array
    sampled: Array
    old: Array
    reference: Array
    rewards: Array
    games: Array
    groups: Array

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        reference: list[Array],
        own: list[Array] | None = None,
        *,
        reward_clip: float = float("inf"),
    ) -> "Turns":
        """Gather samples.

        Args:
            samples: At least one.
            reference: Log-probabilities of each completion under the frozen reference.
            own: Log-probabilities under the trainer's weights, if they are to be told apart from
                the sampler's.
            reward_clip: Rewards are clipped to ±this.

        Raises:
            RedteamError: If a reward or log-probability is not finite; it names the game.
        """
        sampled, mask = pad([np.asarray(s.generation.logprobs) for s in samples])
        anchor, _ = pad(reference)
        old = sampled if own is None else pad(own)[0]
        rewards = np.asarray([s.reward for s in samples], dtype=float)
        finite = np.isfinite(rewards)
        for values in (sampled, anchor, old):
            finite &= np.isfinite(values).all(axis=1)
        if not finite.all():
            bad = samples[int(np.argmin(finite))]
            raise RedteamError(
                f"Game {bad.path} has a reward of {bad.reward} or log-probabilities that are not "
                "finite; nothing was trained on it. If it is the reward, look at the judge; if not, "
                f"training diverged: {CURE}."
            )
        numbers: dict[Any, int] = {}
        return cls(
            samples=tuple(samples),
            mask=mask,
            sampled=sampled,
            old=old,
            reference=anchor,
            rewards=np.clip(rewards, -reward_clip, reward_clip),
            games=np.asarray([numbers.setdefault(s.path, len(numbers)) for s in samples]),
            groups=np.asarray([s.group for s in samples]),
        )

    @property
    def kl(self) -> Array:
        """The k1 estimate ``log pi(token) - log ref(token)`` of each token, nats; 0 off the mask."""
        return self.old - self.reference

    @property
    def first(self) -> Array:
        """The first row of each game, shape (games,)."""
        return np.unique(self.games, return_index=True)[1]

    def rows(self, role: str, advantages: Array, cap: float | None) -> list[Row]:
        """Return the samples one by one.

        Args:
            role: Whose they are.
            advantages: Advantage of each token.
            cap: Most that an importance weight may be; ``None`` for no weights.
        """
        lengths = self.mask.sum(axis=1)
        weights = None if cap is None else np.minimum(np.exp(self.old - self.sampled), cap)
        return [
            Row(
                role=role,
                sample=sample,
                advantages=advantages[k, :n],
                old=self.old[k, :n],
                reference=self.reference[k, :n],
                weights=None if weights is None else weights[k, :n],
                game=int(self.games[k]),
            )
            for k, (sample, n) in enumerate(zip(self.samples, lengths, strict=True))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One pass of one role's samples through the model; tensors (rows, longest completion).

    Attributes:
        role: Whose they are.
        rows: The samples.
        logprobs: Under the current weights, with gradients.
        entropy: Of the distribution at each token, without gradients.
        old: Log-probabilities that ratios are taken to.
        reference: Log-probabilities under the frozen reference.
        advantages: Advantage of each token.
        weights: Importance weights, or ``None`` for 1.
        mask: Completion tokens.
    """

    role: str
    rows: list[Row]
    logprobs: torch.Tensor
    entropy: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor | None
    mask: torch.Tensor

    @property
    def tokens(self) -> torch.Tensor:
        """The mask, times the importance weights where there are any."""
        return self.mask if self.weights is None else self.mask * self.weights

    @classmethod
    def of(cls, role: str, rows: list[Row], found: Any) -> "Batch":
        """Put rows beside what :meth:`TrainablePolicy.logprobs` returned for them."""
        like = found.logprobs
        weights = [row.weights for row in rows if row.weights is not None]
        return cls(
            role=role,
            rows=rows,
            logprobs=like,
            entropy=found.entropy,
            old=padded_like(like, [row.old for row in rows]),
            reference=padded_like(like, [row.reference for row in rows]),
            advantages=padded_like(like, [row.advantages for row in rows]),
            weights=padded_like(like, weights) if weights else None,
            mask=found.mask,
        )


class Log:
    """Weighted means of what is measured in several passes, and in several processes."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Add one measurement."""
        total, count = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (total + value * weight, count + weight)

    def means(self) -> dict[str, float]:
        """Return the mean of each name, over all processes."""
        sums: dict[str, tuple[float, float]] = {}
        for part in current().gather(self._sums):
            for name, (total, count) in part.items():
                before = sums.get(name)
                sums[name] = (before[0] + total, before[1] + count) if before else (total, count)
        return {name: total / count for name, (total, count) in sums.items()}

    def tokens(
        self,
        batch: Batch,
        *,
        clip: float | None = None,
        loss: torch.Tensor | None = None,
        share: float = 1.0,
    ) -> None:
        """Log what a pass showed, as ``role/name``.

        Args:
            batch: The pass.
            clip: Width of the clipped ratio, to log the share of tokens outside it.
            loss: Its summed loss, to log it.
            share: What the loss is divided by.
        """
        with torch.no_grad():
            gap = (batch.logprobs - batch.old)[batch.mask]
            ratio = gap.exp()
            sums = {} if loss is None else {"loss": loss.detach()}
            sums |= {"entropy": batch.entropy[batch.mask].sum(), "ratio": ratio.sum()}
            if clip is not None:
                sums["clip_fraction"] = ((ratio - 1).abs() > clip).to(gap).sum()
            sums["logprob_gap"] = gap.abs().sum()
            totals = torch.stack(list(sums.values())).tolist()  # one transfer from the device
        for name, total in zip(sums, totals, strict=True):
            weight = share if name == "loss" else len(gap)
            self.add(f"{batch.role}/{name}", total / weight, weight)


def chunks(generations: Sequence[Generation], *, rows: int, tokens: int) -> list[list[int]]:
    """Return the places of samples of similar length that go through the model together.

    Args:
        generations: The samples.
        rows: Most samples in one pass.
        tokens: Most tokens in one pass, padding included, but at least one sample.
    """
    result: list[list[int]] = []
    prompt = completion = 0
    # rows of one prompt stay together: it is computed once for them
    longest: dict[tuple[int, ...], int] = {}
    for one in generations:
        longest[one.prompt_ids] = max(length(one), longest.get(one.prompt_ids, 0))

    def key(k: int) -> tuple[int, tuple[int, ...], int]:
        prompt_ids = generations[k].prompt_ids
        return longest[prompt_ids], prompt_ids, length(generations[k])

    for k in sorted(range(len(generations)), key=key):
        sizes = len(generations[k].prompt_ids), len(generations[k].completion_ids)
        prompt, completion = max(prompt, sizes[0]), max(completion, sizes[1])
        count = len(result[-1]) + 1 if result else 1
        if result and count <= rows and count * (prompt + completion) <= tokens:
            result[-1].append(k)
        else:
            result.append([k])
            prompt, completion = sizes
    return result


def length(generation: Generation) -> int:
    """Return the tokens of prompt and completion."""
    return len(generation.prompt_ids) + len(generation.completion_ids)


def padded_like(tensor: torch.Tensor, rows: list[Array]) -> torch.Tensor:
    """Stack rows of different lengths into a tensor of another one's kind and device."""
    return torch.from_numpy(pad(rows)[0]).to(tensor)
