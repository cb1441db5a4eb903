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
    rows = len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((rows, longest), pad_id, dtype=torch.long)
    mask = torch.zeros((rows, longest), dtype=torch.long)
    for k, prompt in enumerate(prompts):
        ids[k, longest - len(prompt) :] = torch.tensor(prompt)
        mask[k, longest - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    uniform = torch.from_numpy(draws).to(device)
    stops = torch.tensor(sorted(stop_ids), device=device)
    cache = DynamicCache()
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    alive = torch.arange(rows, device=device)
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    finished = [False] * rows
    for step in range(draws.shape[1]):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen, logprob = _choose(output.logits[:, -1].float(), uniform[alive, step], temperature)
        ended = torch.isin(chosen, stops)
        for row, token, value, stop in zip(
            alive.tolist(), chosen.tolist(), logprob.tolist(), ended.tolist(), strict=True
        ):
            tokens[row].append(token)
            logprobs[row].append(value)
            finished[row] = stop
        if bool(ended.all()):
            break
        keep = (~ended).nonzero().squeeze(-1)
        if len(keep) < len(alive):
            alive, chosen, mask, position = alive[keep], chosen[keep], mask[keep], position[keep]
            cache.batch_select_indices(keep)
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones((len(keep), 1))], dim=-1)
        position = position[:, -1:] + 1
    return [
        Sampled(ids=tuple(tokens[k]), logprobs=tuple(logprobs[k]), finished=finished[k])
        for k in range(rows)
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
    left = max(len(g.prompt_ids) for g in generations)
    right = max(len(g.completion_ids) for g in generations)
    ids = torch.full((len(generations), left + right), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, g in enumerate(generations):
        start, stop = left - len(g.prompt_ids), left + len(g.completion_ids)
        ids[k, start:stop] = torch.tensor(g.prompt_ids + g.completion_ids)
        mask[k, start:stop] = 1
    ids, mask = ids.to(device), mask.to(device)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=right + 1,
    ).logits[:, :-1]
    scores = torch.log_softmax(logits.float() / temperature, dim=-1)
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
