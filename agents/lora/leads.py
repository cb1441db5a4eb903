"""What several prompts have in common is computed once, with the very same results.

Two things are shared. The *lead*: the tokens that all prompts of a batch begin with, above all a
role's instruction. And whole *prompts* that several rows have, as the rows of a group do: each is
computed once, up to its last token, and the rows go on from there. Gradients flow through both.

Both put padding between tokens. Attention with a mask passes over it, but a recurrent state decays, a
window counts it, and some positions are counted in columns. So prompts are shared in architectures
alone for which tests compare the results with plain passes (:data:`SHARING`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

WORTH = 256
"""Fewest tokens that computing something once must save to be worth a pass of its own."""

SHARING = frozenset(
    {
        "apertus",
        "arcee",
        "cohere",
        "gemma",
        "glm",
        "glm4",
        "gpt2",
        "gpt_neox",
        "granite",
        "granitemoe",
        "helium",
        "llama",
        "mistral",
        "mixtral",
        "olmo",
        "olmo2",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
"""Architectures (``model_type``) whose prompts are shared, unless they are configured with windows."""

_SMALL = 2**16
"""Fewer numbers than this are copied in less time than finding places in a larger tensor takes."""

Prompt = Sequence[int]


@dataclass(slots=True)
class Begun:
    """A batch of prompts, computed as far as rows have something in common.

    Attributes:
        cache: Keys and values of what was computed, for every row.
        seen: Which of the cache's columns are tokens of a row: (rows, columns), or ``None`` if all are.
        columns: Their number.
        rests: What of each prompt is left: at least its last token.
    """

    cache: Cache
    seen: torch.Tensor | None
    columns: int
    rests: list[Prompt]

    def inputs(self, ids: torch.Tensor, mask: torch.Tensor | None, room: int = 0) -> dict[str, Any]:
        """Return what a model is to be called with for the tokens that come next.

        Args:
            ids: Their ids, (rows, tokens), on the model's device.
            mask: Which are no padding, of the same shape; ``None`` if all are.
            room: Columns to add to the mask for later tokens.

        Returns:
            Arguments of the model's call. Without any padding there is no mask, and all rows share
            one row of positions: that is quicker.
        """
        own = {"input_ids": ids, "past_key_values": self.cache, "use_cache": True}
        if mask is None and self.seen is None:
            places = torch.arange(self.columns, self.columns + ids.shape[1], device=ids.device)
            return {**own, "attention_mask": None, "position_ids": places[None]}
        rows, tokens = ids.shape
        seen = torch.ones((rows, self.columns + tokens + room), dtype=torch.long, device=ids.device)
        if self.seen is not None:
            seen[:, : self.columns] = self.seen
        end = self.columns + tokens
        if mask is not None:
            seen[:, self.columns : end] = mask
        places = (seen[:, :end].cumsum(-1) - 1).clamp(min=0)[:, self.columns :]
        return {**own, "attention_mask": seen, "position_ids": places}


@dataclass(frozen=True, slots=True)
class Lead:
    """Tokens that prompts begin with, computed.

    Attributes:
        ids: The tokens.
        cache: Their keys and values, one row.
    """

    ids: tuple[int, ...]
    cache: Cache


def compute_lead(model: Any, ids: Prompt) -> Lead:
    """Compute first tokens; gradients flow where they are enabled."""
    cache = Cache(layer_class_to_replicate=DynamicLayer)
    if ids:
        rows = torch.tensor([list(ids)], device=model.device)
        model(input_ids=rows, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Lead(tuple(ids), cache)


def common_lead(model: Any, prompts: Sequence[Prompt]) -> Lead:
    """Compute what all prompts begin with, for batches of them that follow one another.

    Args:
        model: A causal language model.
        prompts: Token ids of all batches, at least one row.
    """
    with torch.no_grad():
        return compute_lead(model, prompts[0][: plan(model, prompts)[0]])


def begin(
    model: Any,
    prompts: Sequence[Prompt],
    *,
    pad_id: int,
    room: int = 0,
    lead: Lead | None = None,
) -> Begun:
    """Compute what prompts have in common.

    Args:
        model: A causal language model; gradients flow where they are enabled.
        prompts: Token ids, one non-empty sequence a row.
        pad_id: Id under the mask.
        room: Tokens that will be added to the cache one by one, without gradients.
        lead: What all prompts begin with, computed before with the same weights.

    Returns:
        Where the rows go on. If nothing is worth sharing, the cache is empty.
    """
    known = None if lead is None else len(lead.ids)
    size, distinct = plan(model, prompts, known)
    if not (size or distinct):
        return Begun(_fresh(model, room), None, 0, list(prompts))
    if lead is None or not lead.ids:
        lead = compute_lead(model, prompts[0][:size])
    layer = partial(Roomy, room) if room else DynamicLayer
    cache = Cache(layer_class_to_replicate=layer)
    for k, held in enumerate(lead.cache.layers):
        shape = (len(distinct or prompts), -1, -1, -1)
        cache.update(held.keys.expand(shape), held.values.expand(shape), k)
    if not distinct:
        return Begun(cache, None, size, [prompt[size:] for prompt in prompts])
    device = model.device
    begun = Begun(cache, None, size, [])
    ids, mask = padded([prompt[size:-1] for prompt in distinct], pad_id)
    inputs = begun.inputs(ids.to(device), None if mask is None else mask.to(device))
    model(**inputs, logits_to_keep=1)
    place = {prompt: k for k, prompt in enumerate(distinct)}
    rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    cache.reorder_cache(rows)
    seen = inputs["attention_mask"]
    columns = size + ids.shape[1]
    return Begun(cache, None if seen is None else seen[rows], columns, [x[-1:] for x in prompts])


def plan(
    model: Any, prompts: Sequence[Prompt], known: int | None = None
) -> tuple[int, list[tuple[int, ...]]]:
    """Decide what of a batch is computed once.

    Nothing in models that train: dropout draws anew for each row, and gradient checkpointing allows
    no cache. Nothing in architectures that are not in :data:`SHARING`, and nothing in those with
    windowed attention, which count the padding in between.

    Args:
        model: The model.
        prompts: One non-empty sequence a row.
        known: How many first tokens are computed already.

    Returns:
        How many first tokens all rows share, at least one less than each has, or 0; and the distinct
        prompts, or none if each row is to have its own.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    first, last = min(distinct), max(distinct)  # what these two share, all share
    ends = zip(first, last, strict=False)
    same = next((k for k, (a, b) in enumerate(ends) if a != b), len(first))
    lead = known or min(same, min(map(len, distinct)) - 1)
    saved = sum(len(x) - 1 - lead for x in prompts) - sum(len(x) - 1 - lead for x in distinct)
    split = saved >= WORTH
    if not known and lead * (len(distinct if split else prompts) - 1) < WORTH:
        lead = 0
    if not (lead or split) or not _shares(model):
        return 0, []
    return lead, distinct if split else []


def _shares(model: Any) -> bool:
    kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
    windowed = getattr(model.config, "sliding_window", None) is not None
    known = model.config.model_type in SHARING
    return known and not (model.training or windowed or kinds != {"full_attention"})


def _fresh(model: Any, room: int) -> Cache:
    """Return an empty cache with the kind of layers that the model's configuration asks for."""
    layers = DynamicCache(config=model.config).layers
    return Cache(layers=[Roomy(room) if type(x) is DynamicLayer else x for x in layers])


def padded(prompts: Sequence[Prompt], pad_id: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Stack sequences that end in the same column.

    Args:
        prompts: Token ids, one sequence a row.
        pad_id: Id under the mask.

    Returns:
        The ids, and 1 where there is a token or ``None`` if there is one everywhere; on the CPU.
    """
    longest = max(map(len, prompts))
    if all(len(prompt) == longest for prompt in prompts):
        return torch.tensor([list(prompt) for prompt in prompts], dtype=torch.long), None
    ids = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, prompt in enumerate(prompts):
        if prompt:
            ids[k, longest - len(prompt) :] = torch.tensor(prompt)
            mask[k, longest - len(prompt) :] = 1
    return ids, mask


class Roomy(DynamicLayer):  # type: ignore[misc]  # untyped base
    """Keys and values of a layer with room for more: adding a token copies none of those before it.

    Args:
        room: Tokens to make room for when there is none left.
    """

    keys: Any
    values: Any

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._held: tuple[torch.Tensor, ...] = ()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens; return the keys and values of all so far."""
        start = self.get_seq_length()
        if not (start and self._held) and start * key_states[..., 0, :].numel() <= _SMALL:
            found: tuple[torch.Tensor, torch.Tensor] = super().update(key_states, value_states)
            return found
        end = start + key_states.shape[-2]
        if not self._held or self._held[0].shape[-2] < end:
            before = (self.keys, self.values)
            self._held = tuple(
                new.new_empty((*new.shape[:-2], end + self._room, new.shape[-1]))
                for new in (key_states, value_states)
            )
            for held, old in zip(self._held, before, strict=True):
                held[..., :start, :] = old
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[..., start:end, :] = new
        self.keys, self.values = (held[..., :end, :] for held in self._held)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Take rows, in any order and number; room is made again when it is needed."""
        super().reorder_cache(beam_idx)
        self._held = ()
