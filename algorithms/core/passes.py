"""Passes through the model: which rows go together, and what a pass showed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from algorithms.core.ranks import current
from redteam_env.game import Generation
from redteam_env.protocols import Batch

if TYPE_CHECKING:
    import torch


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
        loss: "torch.Tensor | None" = None,
        share: float = 1.0,
    ) -> None:
        """Log what a pass showed, as ``role/name``.

        Args:
            batch: The pass.
            clip: Width of the clipped ratio, to log the share of tokens outside it.
            loss: Its summed loss, to log it.
            share: What the loss is divided by.
        """
        import torch

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
