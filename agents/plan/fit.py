"""What fits: memory of known GPUs, and the largest batches that a given memory holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from agents.lora.config import PolicyConfig
from agents.plan.memory import Batch, Device, Memory, predict
from agents.plan.shapes import Shape
from redteam_env.game import RedteamError, unknown_name

GIB = 2**30
USABLE = 0.9
"""Share of the memory that is planned with; the rest is left to fragmentation."""
MOST_SEQUENCES = 1024
GPUS: Mapping[str, float] = MappingProxyType(
    {
        "t4-16gb": 14.5,
        "l4-24gb": 22.0,
        "a10g-24gb": 22.0,
        "rtx4090-24gb": 23.5,
        "a100-40gb": 39.4,
        "l40s-48gb": 44.3,
        "a6000-48gb": 47.4,
        "a100-80gb": 79.1,
        "h100-80gb": 79.1,
        "h200-141gb": 139.7,
        "b200-192gb": 178.3,
    }
)
"""GiB that torch finds on a GPU, which is less than its name says (out-of-memory messages name it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The largest batches that fit.

    Attributes:
        generation_batch: Sequences sampled together, a power of two.
        micro_batch: Samples in one pass.
        micro_tokens: Tokens in one pass, which lets that many samples of the planned length through.
    """

    generation_batch: int
    micro_batch: int
    micro_tokens: int


def memory_of(gpu: str | None, gib: float | None) -> int | None:
    """Return the bytes of a GPU by name, or of a memory in GiB; nothing if neither is given.

    Raises:
        RedteamError: If both are given, the name is unknown, or the number is not above 0.
    """
    if gpu is not None and gib is not None:
        raise RedteamError(f"Both a GPU ({gpu!r}) and a memory ({gib} GiB) are given; give one.")
    if gpu is not None:
        if gpu not in GPUS:
            raise unknown_name("GPU", gpu, GPUS, hint="Or give its memory in GiB with --memory.")
        return int(GPUS[gpu] * GIB)
    if gib is None:
        return None
    if not 0 < gib < float("inf"):
        raise RedteamError(f"memory is {gib} GiB; give a number above 0.")
    return int(gib * GIB)


def fits(memory: Memory, available: int) -> bool:
    """Return whether the peak leaves a tenth of the memory free."""
    return memory.peak <= USABLE * available


def smallest_gpu(memory: Memory) -> str | None:
    """Return the first of the known GPUs, by memory, that holds the peak; none if none does."""
    return next(iter(fitting_gpus(memory)), None)


def fitting_gpus(memory: Memory) -> list[str]:
    """Return the known GPUs that hold the peak, by memory."""
    return [name for name, gib in GPUS.items() if fits(memory, int(gib * GIB))]


def suggest(
    shape: Shape,
    policy: PolicyConfig,
    batch: Batch,
    *,
    device: Device,
    available: int,
    minibatch: int,
) -> Suggestion | None:
    """Return the largest batches that a memory holds at the planned lengths.

    Args:
        shape: The model's.
        policy: Arrangement, rank, targets, number format, gradient checkpointing.
        batch: The planned lengths.
        device: Where everything is held.
        available: Bytes.
        minibatch: Samples of an optimiser step; a pass never has more.

    Returns:
        The batches, or nothing if not even one sequence at a time fits.
    """

    def holds(**sizes: int) -> bool:
        least = replace(batch, generation_batch=1, rows=1)
        return fits(predict(shape, policy, replace(least, **sizes), device=device), available)

    if not holds():
        return None
    powers = [2**k for k in range(MOST_SEQUENCES.bit_length())]
    generation = max(n for n in powers if n == 1 or holds(generation_batch=n))
    rows = _largest(lambda n: holds(rows=n), minibatch)
    return Suggestion(
        generation_batch=generation,
        micro_batch=rows,
        micro_tokens=rows * (batch.prompt_tokens + batch.new_tokens),
    )


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` that holds, if 1 does and growing only makes worse."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
