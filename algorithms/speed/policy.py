"""The policy that all comparisons measure: on the CPU, in float32, with completions of one length."""

from collections.abc import Mapping
from typing import Any

import torch

from redteam_env.registry import build, settings

NEVER = 2**31 - 1
"""The id that ends a completion on both sides: no token has it, so all are equally long."""


def endless_policy(spec: Mapping[str, Any], *, arrangement: str, length: int) -> Any:
    """Return a policy whose completions end at their greatest length only, and set torch's threads.

    Args:
        spec: ``model``, ``rank`` and ``threads``.
        arrangement: Which weights play which role.
        length: Tokens of a completion.
    """
    torch.set_num_threads(spec["threads"])
    config = settings("policies", "lora")(
        arrangement=arrangement,
        model=spec["model"],
        rank=spec["rank"],
        max_new_tokens=length,
        device="cpu",
        dtype="float32",
    )
    policy = build("policies", "lora", config=config, seed=0)
    policy.codec.stop_ids = frozenset({NEVER})
    return policy
