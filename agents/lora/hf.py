"""The ``hf`` backend: sampling and log-probabilities with transformers, the oracle of all backends.

Each row draws its random numbers from its own path, so a row samples the same tokens in any batch
(up to rounding: a row's logits change in the last bits with the padding beside it). Generation
returns the log-probability of each token under the distribution it was drawn from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.lora.leads import Lead, begin, padded
from agents.lora.logprobs import Entropy, TokenLogprobs, token_logprobs, weigh
from redteam_env.game import Generation, RedteamError

_BLOCK = 128
"""Words of a large vocabulary that are summed at a time to find out which to look at one by one."""
_HELD = 0.75
"""Ended rows are dropped from a batch once no more than this share of it is alive."""


_OPENED = 64
"""Prompts whose first token is computed together."""


_NO_NUMBERS = (
    "The model's logits are no numbers (NaN or infinite), so nothing can be sampled: its weights, or those "
    "of an adapter on it, are damaged or far too large. Name others, or train with a lower learning rate."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One completion: its ids, their log-probabilities (nats), and whether a stop token ended it."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    draws: np.ndarray[Any, Any],
    *,
    stop_ids: Sequence[int],
    pad_id: int,
    temperature: float,
    lead: Lead | None = None,
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
        lead: What all prompts begin with, computed before with the same weights.

    Returns:
        One completion a row, in order.

    Raises:
        RedteamError: If the model's logits are no numbers.
    """
    device = model.device
    rows, steps = draws.shape
    begun = begin(model, prompts, pad_id=pad_id, room=steps, lead=lead)
    ids, present = padded(begun.rests, pad_id)
    ids = ids.to(device)
    inputs = begun.inputs(ids, None if present is None else present.to(device), room=steps)
    # every later token is seen by all after it
    mask, position, cache = inputs["attention_mask"], inputs["position_ids"], begun.cache
    columns = begun.columns + ids.shape[1]
    uniform = torch.from_numpy(draws).to(device)
    stops = frozenset(stop_ids)
    tokens: list[list[int]] = [[] for _ in range(rows)]
    logprobs: list[list[float]] = [[] for _ in range(rows)]
    held = list(range(rows))  # ended rows are held until dropping them pays
    for step in range(steps):
        output = model(
            input_ids=ids,
            attention_mask=None if mask is None else mask[:, : columns + step],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen, logprob = _choose(output.logits[:, -1].float(), uniform[:, step], temperature)
        alive = []
        found = zip(held, chosen.tolist(), logprob.tolist(), strict=True)
        for place, (k, token, value) in enumerate(found):
            if tokens[k] and tokens[k][-1] in stops:
                continue
            if math.isnan(value):
                raise RedteamError(_NO_NUMBERS)
            tokens[k].append(token)
            logprobs[k].append(value)
            if token not in stops:
                alive.append(place)
        if not alive:
            break
        position = position[:, -1:] + 1
        if len(alive) <= _HELD * len(held):
            held = [held[place] for place in alive]
            keep = torch.tensor(alive, device=device)
            chosen, uniform = chosen[keep], uniform[keep]
            if mask is not None:
                mask, position = mask[keep], position[keep]
            cache.reorder_cache(keep)  # three times as fast as batch_select_indices
        ids = chosen[:, None]
    return [
        Sampled(ids=tuple(row), logprobs=tuple(values), finished=bool(row) and row[-1] in stops)
        for row, values in zip(tokens, logprobs, strict=True)
    ]


def _choose(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits if temperature in {0, 1} else logits / temperature
    weights, _, scale = weigh(logits)
    chosen = logits.argmax(-1, keepdim=True) if temperature == 0 else _drawn(weights, uniform)
    return chosen.squeeze(-1), (logits.gather(-1, chosen) - scale).squeeze(-1)


def _drawn(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the inverse of a distribution function: words (rows, 1) for weights (rows, words).

    A large vocabulary is cut into blocks: first the block is found in which the sum of weights
    passes ``uniform`` times their total, then the word in it.
    """
    uniform = uniform.double()[:, None]
    if weights.shape[-1] < _BLOCK**2:
        return _passed(weights.cumsum(-1, dtype=torch.float64), uniform)[0]
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % _BLOCK))
    blocks = blocks.view(len(weights), -1, _BLOCK)
    block, rest = _passed(blocks.sum(-1).cumsum(-1, dtype=torch.float64), uniform)
    own = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK))[:, 0]
    word = block * _BLOCK + _passed(own.cumsum(-1, dtype=torch.float64), rest)[0]
    return word.clamp(max=weights.shape[-1] - 1)  # where nothing is a number


def _passed(sums: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where growing sums pass a share of the last, and how far into that place: (rows, 1)."""
    total = sums[:, -1:].contiguous()
    target = share * total
    # no further than the last place that adds something: a word of no probability is never drawn
    last = torch.searchsorted(sums, total).clamp(max=sums.shape[-1] - 1)
    place = torch.searchsorted(sums, target, right=True).minimum(last)
    before = torch.where(place > 0, sums.gather(-1, (place - 1).clamp(min=0)), 0.0)
    size = sums.gather(-1, place) - before
    return place, ((target - before) / size).clamp(0, 1)


def completion_logprobs(
    model: Any,
    generations: Sequence[Generation],
    *,
    pad_id: int,
    entropy: Entropy = "none",
    with_distribution: bool = False,
    twice: bool = False,
) -> TokenLogprobs:
    """Compute log-probabilities of completions, at the temperature they were sampled at.

    What prompts have in common is computed once. Prompts are padded on the left and completions on
    the right, so that the completions stand in the same columns and logits are computed for these
    alone.

    Args:
        model: A causal language model; gradients flow where they are enabled.
        generations: Rows with non-empty prompts and completions and one temperature.
        pad_id: Id under the mask.
        entropy: What is wanted of the entropy.
        with_distribution: Whether to return all words' log-probabilities.
        twice: Whether second derivatives and several backward passes are wanted; the model must
            allow them, too.

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
    begun = begin(model, [g.prompt_ids for g in generations], pad_id=pad_id)
    right = max(len(g.completion_ids) for g in generations)
    ids, targets, mask = _targets(generations, right)
    own, present = padded(begun.rests, pad_id)
    ids = torch.cat([own, ids], dim=-1).to(device)  # the last token is no token's past
    targets, mask = targets.to(device), mask.to(device)
    if present is not None:  # what stands behind a completion is seen by no token of it
        present = torch.nn.functional.pad(present, (0, right - 1), value=1).to(device)
    inputs = begun.inputs(ids, present)
    if not begun.columns:
        inputs |= {"past_key_values": None, "use_cache": False}
    logits = model(**inputs, logits_to_keep=right).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return token_logprobs(
        logits if temperature == 1 else logits / temperature,
        targets,
        mask,
        entropy=entropy,
        with_distribution=with_distribution,
        twice=twice,
    )


@torch.no_grad()
def opening_logprobs(
    model: Any, prompts: Sequence[Sequence[int]], tokens: Sequence[int], *, pad_id: int
) -> list[float]:
    """Compute the log-probability that a completion begins with one of some tokens.

    Args:
        model: A causal language model.
        prompts: Token ids, one non-empty sequence a row, in any order.
        tokens: The tokens, each once.
        pad_id: Id under the mask.

    Returns:
        One for each prompt, nats, at temperature 1.
    """
    order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
    found: dict[int, float] = {}
    for start in range(0, len(order), _OPENED):
        chunk = order[start : start + _OPENED]
        begun = begin(model, [prompts[k] for k in chunk], pad_id=pad_id)
        ids, present = padded(begun.rests, pad_id)
        inputs = begun.inputs(
            ids.to(model.device), None if present is None else present.to(model.device)
        )
        if not begun.columns:
            inputs |= {"past_key_values": None, "use_cache": False}
        logits = model(**inputs, logits_to_keep=1).logits[:, -1].double()
        logs = logits[:, list(tokens)].logsumexp(-1) - logits.logsumexp(-1)
        found.update(zip(chunk, logs.tolist(), strict=True))
    return [found[k] for k in range(len(prompts))]


def _targets(
    generations: Sequence[Generation], right: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return completions without their last column, whole, and their mask; on the CPU."""
    targets = torch.zeros((len(generations), right), dtype=torch.long)
    mask = torch.zeros((len(generations), right), dtype=torch.bool)
    for k, g in enumerate(generations):
        targets[k, : len(g.completion_ids)] = torch.tensor(g.completion_ids)
        mask[k, : len(g.completion_ids)] = True
    return targets[:, :-1], targets, mask
