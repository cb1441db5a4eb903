"""The ``hf`` backend: sampling and log-probabilities with transformers, the oracle of all backends.

Each row draws its random numbers from its own path, so a row samples the same tokens in any batch
(up to rounding: a row's logits change in the last bits with the padding beside it). Generation
returns the log-probability of each token under the distribution it was drawn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from redteam_env.game import Generation, RedteamError

_WORTH = 256
"""Fewest tokens that computing a common lead once must save to be worth a pass of its own."""
_HELD = 0.75
"""Ended rows are dropped from a batch once no more than this share of it is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One completion: its ids, their log-probabilities (nats), and whether a stop token ended it."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprobs:
    """Log-probabilities of completion tokens.

    Attributes:
        logprobs: Float tensor (rows, longest completion), nats; 0 where ``mask`` is false.
        entropy: Entropy of the full distribution at each place, nats, same shape, no gradient.
        mask: True on completion tokens.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor
    mask: torch.Tensor


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    draws: np.ndarray[Any, Any],
    *,
    stop_ids: Sequence[int],
    pad_id: int,
    temperature: float,
) -> list[Sampled]:
    """Sample one completion for each prompt of a batch.

    Args:
        model: A causal language model.
        prompts: Token ids, one non-empty sequence a row.
        draws: Uniform numbers in [0, 1), shape (rows, most new tokens); row k's t-th token is the
            inverse of its distribution function at ``draws[k, t]``. Not used at temperature 0.
        stop_ids: Ids that end a completion; the stop token is part of it.
        pad_id: Id under the mask.
        temperature: 0 takes the most likely token, with its log-probability at temperature 1.

    Returns:
        One completion a row, in order.
    """
    device = model.device
    rows, steps = draws.shape
    lead = _lead(model, prompts)
    longest = max(len(prompt) for prompt in prompts)
    ids, seen = _padded([prompt[lead:] for prompt in prompts], longest - lead, pad_id)
    ids = ids.to(device)
    # every later token is seen by all after it
    mask = torch.ones((rows, longest + steps), dtype=torch.long, device=device)
    mask[:, lead:longest] = seen.to(device)
    position = (mask[:, :longest].cumsum(-1) - 1).clamp(min=0)[:, lead:]
    uniform = torch.from_numpy(draws).to(device)
    stops = torch.tensor(sorted(stop_ids), device=device)
    cache = _lead_cache(model, prompts[0][:lead], rows)
    tokens = torch.zeros((rows, steps), dtype=torch.long, device=device)
    logprobs = torch.zeros((rows, steps), device=device)
    lengths = torch.full((rows,), steps, device=device)
    finished = torch.zeros(rows, dtype=torch.bool, device=device)
    held = torch.arange(rows, device=device)  # ended rows are held until dropping them pays
    for step in range(steps):
        output = model(
            input_ids=ids,
            attention_mask=mask[:, : longest + step],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen, logprob = _choose(output.logits[:, -1].float(), uniform[held, step], temperature)
        tokens[held, step], logprobs[held, step] = chosen, logprob
        ended = torch.isin(chosen, stops) & ~finished[held]
        lengths[held[ended]] = step + 1
        finished[held[ended]] = True
        alive = ~finished[held]
        left = int(alive.sum())
        if left == 0:
            break
        position = position[:, -1:] + 1
        if left <= _HELD * len(held):
            keep = alive.nonzero().squeeze(-1)
            held, chosen, mask, position = held[keep], chosen[keep], mask[keep], position[keep]
            cache.reorder_cache(keep)  # three times as fast as batch_select_indices
        ids = chosen[:, None]
    return [
        Sampled(ids=tuple(row[:n]), logprobs=tuple(values[:n]), finished=stop)
        for row, values, n, stop in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), finished.tolist(), strict=True
        )
    ]


def _choose(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.log_softmax(logits / temperature if temperature > 0 else logits, dim=-1)
    if temperature == 0:
        chosen = scores.argmax(-1)
    else:
        cumulative = scores.double().exp().cumsum(-1)
        target = uniform.double() * cumulative[:, -1]
        chosen = torch.searchsorted(cumulative, target[:, None], right=True).squeeze(-1)
        chosen = chosen.clamp(max=logits.shape[-1] - 1)
    return chosen, scores.gather(-1, chosen[:, None]).squeeze(-1)


def completion_logprobs(
    model: Any, generations: Sequence[Generation], *, pad_id: int, with_entropy: bool
) -> TokenLogprobs:
    """Compute log-probabilities of completions, at the temperature they were sampled at.

    Prompts are padded on the left and completions on the right, so that the completions stand in
    the same columns and logits are computed for these alone.

    Args:
        model: A causal language model; gradients flow where they are enabled.
        generations: Rows with non-empty prompts and completions and one temperature.
        pad_id: Id under the mask.
        with_entropy: Whether to compute the entropy (zeros otherwise).

    Returns:
        Tensors of shape (rows, longest completion) on the model's device.

    Raises:
        RedteamError: If the rows were sampled at different temperatures.
    """
    temperatures = {g.temperature for g in generations}
    if len(temperatures) > 1:
        raise RedteamError(
            f"One batch holds samples of the temperatures {sorted(temperatures)}; train on one."
        )
    temperature = temperatures.pop() or 1.0
    device = model.device
    lead = _lead(model, [g.prompt_ids for g in generations])
    left = max(len(g.prompt_ids) for g in generations) - lead
    right = max(len(g.completion_ids) for g in generations)
    ids, mask = _padded([g.prompt_ids[lead:] for g in generations], left, pad_id, right)
    for k, g in enumerate(generations):
        ids[k, left : left + len(g.completion_ids)] = torch.tensor(g.completion_ids)
        mask[k, left : left + len(g.completion_ids)] = 1
    ids, mask = ids.to(device), mask.to(device)
    seen = torch.cat([mask.new_ones((len(generations), lead)), mask], dim=-1)
    logits = model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=(seen.cumsum(-1) - 1).clamp(min=0)[:, lead:],
        past_key_values=_lead_cache(model, generations[0].prompt_ids[:lead], len(generations)),
        use_cache=lead > 0,
        logits_to_keep=right + 1,
    ).logits[:, :-1]
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    scores = torch.log_softmax(logits, dim=-1)
    targets = ids[:, left:]
    chosen = mask[:, left:].bool()
    picked = scores.gather(-1, targets[..., None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(scores.exp() * scores).sum(-1) if with_entropy else torch.zeros_like(picked)
    return TokenLogprobs(
        logprobs=torch.where(chosen, picked, torch.zeros_like(picked)),
        entropy=torch.where(chosen, entropy, torch.zeros_like(entropy)),
        mask=chosen,
    )


def _padded(
    prompts: Sequence[Sequence[int]], left: int, pad_id: int, right: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack prompts that end in column ``left``; return ids and mask, on the CPU."""
    ids = torch.full((len(prompts), left + right), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, prompt in enumerate(prompts):
        ids[k, left - len(prompt) : left] = torch.tensor(prompt)
        mask[k, left - len(prompt) : left] = 1
    return ids, mask


def _lead(model: Any, prompts: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens to compute once for all prompts: 0 where it does not pay.

    Each prompt keeps a token of its own. Not while training: dropout draws anew for each row, and
    gradient checkpointing allows no cache. Not in models with windowed attention, which count the
    padding between the lead and a shorter prompt's rest.
    """
    ordered = sorted(tuple(prompt) for prompt in prompts)
    ends = zip(ordered[0], ordered[-1], strict=False)  # what first and last share, all share
    same = next((k for k, (a, b) in enumerate(ends) if a != b), len(ordered[0]))
    lead = min(same, min(map(len, ordered)) - 1)
    if lead * (len(prompts) - 1) < _WORTH or model.training:
        return 0
    kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
    windowed = getattr(model.config, "sliding_window", None) is not None
    return 0 if windowed or kinds != {"full_attention"} else lead


def _lead_cache(model: Any, lead: Sequence[int], rows: int) -> DynamicCache:
    """Return a cache that holds the lead for every row, with gradients where they are enabled."""
    cache = DynamicCache()
    if lead:
        ids = torch.tensor([lead], device=model.device)
        model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(rows)
    return cache
