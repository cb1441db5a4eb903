"""Attention on the CPU that shares keys among heads instead of copying them for each.

transformers copies keys and values for every query head as soon as there is a mask, since the masked
kernels of GPUs know no groups. The CPU's kernel does, and the copies would be kept for the backward
pass: a sixth of all activations in a model with a third as many key heads.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_grouped"
_SPECIAL = ("softcap", "position_bias", "cache", "output_attentions")
"""Options that transformers' own function knows how to serve, or to refuse."""


def share_keys(model: Any) -> None:
    """Let a model on the CPU compute attention in groups; other models stay as they are."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":  # noqa: SLF001 - transformers has no public name for it
        AttentionInterface.register(NAME, _grouped)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def _grouped(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    special = not all(options.get(name) is None or options[name] is False for name in _SPECIAL)
    if attention_mask is None or special or query.shape[1] == key.shape[1] or query.shape[2] == 1:
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return result
    found = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
        enable_gqa=True,
    )
    return found.transpose(1, 2).contiguous(), None
