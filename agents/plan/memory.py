"""Peak memory of training, by arithmetic over what the ``hf`` backend and REINFORCE++ keep.

What stays (weights, adapters, optimiser, reference) plus the largest of three phases that never
overlap: sampling, training, and on a CPU the copies that a checkpoint makes. :mod:`agents.plan.passes`
counts what the passes through the model need.

On a CPU, predicted rises over the imports were compared with measured ones (torch 2.13): a random Qwen2
of 54 M parameters 482 / 495 MiB (shared), 524 / 540 (bipolicy), 1,519 / 1,530 and 2,316 / 2,324
(independent: sampling and saving), 1,277 / 1,282 (shared_full); ``apothecary`` 119 / 108, 120 / 109,
150 / 133, 145 / 127. That is the memory that is held, measured where glibc maps every block of 64 KiB
(``MALLOC_MMAP_THRESHOLD_=65536``). By default glibc also keeps much of what was freed (2.36, in which
freed aligned blocks are seldom used again): rises were up to 1.7 times these, in longer passes up to
2.2 times what is held. No constant predicts that, so none is added. On a GPU nothing was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from agents.lora.config import PolicyConfig
from agents.plan.parameters import adapted_layers, adapter_parameters, model_parameters
from agents.plan.passes import Passes
from agents.plan.shapes import Shape
from redteam_env.game import Count, check_fields
from redteam_env.protocols import BASE

Device = Literal["cuda", "cpu"]
MIB = 2**20
IMPORTS = 390 * MIB
"""Resident bytes of Python with torch (a CPU build), transformers and PEFT; measured: 388 MiB."""
FIRST_STEP = 30 * MIB
"""What a process keeps beside its tensors once it made a model and a step; measured: 20 to 40 MiB."""
RUNTIME: Mapping[str, int] = MappingProxyType({"cpu": IMPORTS + FIRST_STEP, "cuda": 1024 * MIB})
"""Bytes of a process beside its tensors; on a GPU the driver's context and the libraries' work space
(an allowance, not measured)."""
_MOMENTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes through the model at once.

    Attributes:
        prompt_tokens: Longest prompt.
        new_tokens: Longest completion.
        generation_batch: Sequences sampled together.
        rows: Samples in one forward and backward pass.
    """

    prompt_tokens: Count
    new_tokens: Count
    generation_batch: Count
    rows: Count

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Trainable parameters of an arrangement.

    Attributes:
        model: Parameters of the whole model: what full fine-tuning of one copy trains.
        each: Of one adapter, or of one whole copy.
        number: How many of them there are.
        full: Whether they are whole copies.
    """

    model: int
    each: int
    number: int
    full: bool

    @property
    def total(self) -> int:
        """Trainable parameters in all."""
        return self.number * self.each


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes by purpose.

    Attributes:
        runtime: The process beside its tensors.
        weights: The frozen base under adapters, or the whole copies that are trained.
        adapters: All adapters (float32 on a base of any format).
        reference: A frozen copy of its own; none under adapters, which are switched off for it.
        optimiser: AdamW's two moments of everything that is trained.
        kv_cache: Keys and values of a full generation batch.
        sampling_work: Largest sum of what else a sampling step holds: folded weights, the prompts'
            hidden states or the distributions of the next token.
        gradients: Of the weights in training: one adapter's or copy's, never two at once.
        activations: What one pass saves for its backward pass.
        training_work: Largest sum of what else training holds: logits and their log-probabilities
            on completion tokens, gradients of hidden states, folded weights.
        saving: Copies made for a checkpoint.
    """

    runtime: int
    weights: int
    adapters: int
    reference: int
    optimiser: int
    kv_cache: int
    sampling_work: int
    gradients: int
    activations: int
    training_work: int
    saving: int

    @property
    def resident(self) -> int:
        """What is there all the time."""
        return self.runtime + self.weights + self.adapters + self.reference + self.optimiser

    @property
    def sampling(self) -> int:
        """Peak while games are played."""
        return self.resident + self.kv_cache + self.sampling_work

    @property
    def training(self) -> int:
        """Peak while the weights are updated."""
        return self.resident + self.gradients + self.activations + self.training_work

    @property
    def peak(self) -> int:
        """Peak of all phases."""
        return max(self.sampling, self.training, self.resident + self.saving)


def count(shape: Shape, policy: PolicyConfig) -> Parameters:
    """Return the trainable parameters of an arrangement.

    Args:
        shape: The model's.
        policy: Arrangement, rank and targets.

    Raises:
        RedteamError: If a target does not exist.
    """
    model = model_parameters(shape)
    each = model
    if not policy.full:
        each = adapter_parameters(shape, rank=policy.rank, targets=policy.targets)
    number = len({*policy.weights.values()} - {BASE})
    return Parameters(model=model, each=each, number=number, full=policy.full)


def resolved(policy: PolicyConfig, device: Device) -> PolicyConfig:
    """Return a policy's settings with the number format that ``auto`` means on a device."""
    if policy.dtype != "auto":
        return policy
    whole = policy.full or device == "cpu"
    return replace(policy, dtype="float32" if whole else "bfloat16")


def predict(shape: Shape, policy: PolicyConfig, batch: Batch, *, device: Device) -> Memory:
    """Predict the memory of training.

    Prompts are counted as if they shared no first tokens, and rows as if they differed in length: the
    backend computes a common lead once and needs less then. Dropout, which keeps more, is not counted.

    Args:
        shape: The model's.
        policy: Arrangement, rank, targets, number format, gradient checkpointing.
        batch: Lengths and batch sizes.
        device: Where everything is held.

    Returns:
        Bytes by purpose.

    Raises:
        RedteamError: If a target does not exist.
    """
    policy = resolved(policy, device)
    size = 4 if policy.dtype == "float32" else 2
    parameters = count(shape, policy)
    adapted = {} if policy.full else dict(adapted_layers(shape, policy.targets))
    passes = Passes(
        shape=shape,
        adapted=adapted,
        rank=policy.rank,
        size=size,
        checkpointing=policy.gradient_checkpointing,
        shared_keys=device == "cpu" and not policy.full,
    )
    whole = parameters.model * size
    trained = parameters.total * (size if policy.full else 4)
    activations, training_work = passes.training(batch.rows, batch.prompt_tokens, batch.new_tokens)
    kv_cache, sampling_work = passes.sampling(
        batch.generation_batch, batch.prompt_tokens, batch.new_tokens
    )
    return Memory(
        runtime=RUNTIME[device],
        weights=trained if policy.full else whole,
        adapters=0 if policy.full else trained,
        reference=whole if policy.full else 0,
        optimiser=_MOMENTS * trained,
        kv_cache=kv_cache,
        sampling_work=sampling_work,
        gradients=trained // parameters.number,
        activations=activations,
        training_work=training_work,
        saving=_MOMENTS * trained if device == "cpu" else 0,
    )
