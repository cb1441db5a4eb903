"""What several prompts have in common is computed once, with the very same results.

Two things are shared. The *lead*: the tokens that all prompts of a batch begin with, above all a
role's instruction. And *trunks*, prompts that other rows' prompts are the beginning of, or the same: the
rows of a group, and the turns of a dialogue, each of which is prompted with those before it. A trunk is
computed once, up to its last token, and every row goes on from where its own prompt ends in it.
Gradients flow through both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from redteam_env.prefixes import Branch, branches, common

WORTH = 256
"""Fewest tokens that computing something once must save to be worth a pass of its own."""

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
        return compute_lead(model, prompts[0][: plan(model, prompts).lead])


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
    planned = plan(model, prompts, known)
    size, trunks = planned.lead, planned.trunks
    if lead is None or not lead.ids:
        lead = compute_lead(model, prompts[0][:size])
    layer = partial(Roomy, room) if room else DynamicLayer
    cache = Cache(layer_class_to_replicate=layer)
    for k, held in enumerate(lead.cache.layers):
        shape = (len(trunks or prompts), -1, -1, -1)
        cache.update(held.keys.expand(shape), held.values.expand(shape), k)
    if not trunks:
        return Begun(cache, None, size, [prompt[size:] for prompt in prompts])
    device = model.device
    begun = Begun(cache, None, size, [])
    ids, mask = padded([trunk[size:] for trunk in trunks], pad_id)
    model(
        **begun.inputs(ids.to(device), None if mask is None else mask.to(device)),
        logits_to_keep=1,
    )
    columns = size + ids.shape[1]
    seen = torch.ones((len(prompts), columns), dtype=torch.long)
    for row, branch in zip(seen, planned.rows, strict=True):
        start = columns - len(trunks[branch.trunk])  # where it would begin if the lead were its own
        row[size : start + size] = 0
        row[start + branch.shared :] = 0
    cache.reorder_cache(torch.tensor([branch.trunk for branch in planned.rows], device=device))
    rests = [prompt[branch.shared :] for prompt, branch in zip(prompts, planned.rows, strict=True)]
    return Begun(cache, None if bool(seen.all()) else seen.to(device), columns, rests)


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a batch is computed once.

    Attributes:
        lead: How many first tokens all rows share, at least one less than each has, or 0.
        trunks: Prompts without their last token that rows go on from; none if each row is to have its
            own.
        rows: For each row where it leaves which of them; empty without trunks.
    """

    lead: int
    trunks: list[tuple[int, ...]]
    rows: list[Branch]


def plan(model: Any, prompts: Sequence[Prompt], known: int | None = None) -> Plan:
    """Decide what of a batch is computed once.

    Nothing in models that train: dropout draws anew for each row, and gradient checkpointing allows
    no cache. Nothing in models with windowed attention, which count the padding in between.

    Args:
        model: The model.
        prompts: One non-empty sequence a row.
        known: How many first tokens are computed already.
    """
    bodies = [tuple(prompt[:-1]) for prompt in prompts]
    lead = known or common(min(bodies), max(bodies))  # what these two share, all share
    found = branches(bodies, lead)
    places = {k: n for n, k in enumerate(dict.fromkeys(branch.trunk for branch in found))}
    trunks = [bodies[k] for k in places]
    tail = max(len(body) - x.shared for body, x in zip(bodies, found, strict=True))
    # all rows are padded to the longest tail
    saved = sum(len(x) - lead - tail for x in bodies) - sum(len(x) - lead for x in trunks)
    split = saved >= max(1, WORTH)
    if not known and lead * (len(trunks if split else prompts) - 1) < WORTH:
        lead = 0
    if not (lead or split) or model.training or not attends_to_all(model):
        return Plan(0, [], [])
    if not split:
        return Plan(lead, [], [])
    return Plan(lead, trunks, [Branch(places[x.trunk], x.shared) for x in found])


def attends_to_all(model: Any) -> bool:
    """Whether every layer attends to all tokens, so that prompts can be shared."""
    kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
    windowed = getattr(model.config, "sliding_window", None) is not None
    return not windowed and kinds == {"full_attention"}


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
