"""What a machine can do at most, and how much of it a measured time is."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

_SIDE = 1536
_READ = 2**26
_TIMES = 5
_FLOAT = 4


def machine_rates(spec: Mapping[str, Any], turns: Any) -> None:
    """Measure floating-point operations and bytes a second, as a side of a comparison.

    A product of two float32 matrices that fit no cache but the last, and the sum of 256 MiB.
    """
    torch.set_num_threads(spec["threads"])
    a, b, long = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE), torch.ones(_READ)
    while turns.begin():
        product, total = (_best(x, clock(spec["threads"])) for x in (lambda: a @ b, long.sum))
        turns.end(flops=2 * _SIDE**3 / product, bytes=_FLOAT * _READ / total)


def clock(threads: int) -> Callable[[], float]:
    """Return what measures seconds: with one thread the processor's time, else the clock's."""
    return time.process_time if threads == 1 else time.perf_counter


def _best(work: Callable[[], Any], now: Callable[[], float]) -> float:
    times = []
    for _ in range(_TIMES):
        started = now()
        work()
        times.append(now() - started)
    return min(times)


def distinct_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens prompts have, those that all begin with counted once."""
    lead = next(
        (k for k, same in enumerate(zip(*prompts, strict=False)) if len(set(same)) > 1), None
    )
    shared = min(map(len, prompts)) if lead is None else lead
    return shared + sum(len(prompt) - shared for prompt in prompts)


def sizes(model: Any) -> dict[str, int]:
    """Return how many weights the linear layers of a model have: its head, and all others."""
    head = model.get_output_embeddings().weight
    tables = {id(head), id(model.get_input_embeddings().weight)}
    body = sum(x.numel() for x in model.parameters() if x.dim() == 2 and id(x) not in tables)
    adapters = sum(x.numel() for name, x in model.named_parameters() if "lora_" in name)
    return {"body": body - adapters, "head": head.numel()}


def step_operations(weights: Mapping[str, int], *, prompt: int, completion: int) -> float:
    """Return the operations of one training step with everything shared that can be.

    Four passes over all tokens: sampling, reference, policy forward and backward (a frozen base needs
    no gradients of its weights); the head on completions only. Attention and adapters, a few
    percent, are not counted.

    Args:
        weights: From :func:`sizes`.
        prompt: Tokens of the distinct prompts.
        completion: Tokens of all completions.
    """
    return 4 * 2.0 * (weights["body"] * (prompt + completion) + weights["head"] * completion)


def decoding_seconds(
    weights: Mapping[str, int], rates: Mapping[str, float], *, rows: int, steps: int
) -> float:
    """Return the least time of sampling ``steps`` tokens in ``rows`` rows, prompts left out.

    Each step reads every weight once and multiplies it with every row; the slower of both counts.

    Args:
        weights: From :func:`sizes`.
        rates: ``flops`` and ``bytes`` a second.
        rows: Rows that are sampled together.
        steps: Tokens of each.
    """
    size = weights["body"] + weights["head"]
    return steps * max(_FLOAT * size / rates["bytes"], 2 * rows * size / rates["flops"])
