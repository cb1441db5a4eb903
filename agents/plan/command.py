"""The command ``plan``: parameters and memory of a run, before a GPU is rented. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated

import tyro

from agents.lora.config import Arrangement, Dtype, PolicyConfig
from agents.plan.configs import shape_of
from agents.plan.fit import memory_of, suggest
from agents.plan.memory import Batch, Device, count, predict, resolved
from agents.plan.page import Column, Plan, as_json, page
from redteam_env.game import Count, RedteamError, check_fields
from redteam_env.recipes import find_recipe
from redteam_env.usage import read
from redteam_env.utils.argv import value_of
from redteam_env.utils.console import make_console, print_json

SIDE_BY_SIDE: tuple[Arrangement, ...] = ("shared_full", "shared", "bipolicy", "independent")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What to plan for; the options that train has too mean what they mean there.

    Attributes:
        recipe: A published training, such as abs_3b, whose settings take the place of the defaults.
        model: A Qwen2.5, Qwen3 or SmolLM2 model by its hub id, smollm2, an embedded model, a directory
            with a config.json, or another hub id, whose config.json is fetched.
        revision: Branch, tag or commit of a hub model.
        arrangement: bipolicy, shared, shared_full, independent, attacker_only or defender_only; the one
            that batches are suggested for.
        rank: LoRA rank.
        targets: Modules that get an adapter, separated by commas, or all-linear.
        dtype: float32, bfloat16, or auto (bfloat16 for a base with adapters on a GPU, else float32).
        prompt_tokens: Longest prompt to plan for, in tokens.
        max_new_tokens: Longest completion, in tokens.
        generation_batch: Sequences sampled together.
        minibatch: Samples in one optimiser step.
        micro_batch: Most samples in one forward pass.
        micro_tokens: Most tokens in one forward pass, padding included (but at least one sample).
        gradient_checkpointing: Recompute activations in the backward pass.
        device: cuda or cpu.
        gpu: A GPU by name, such as h100-80gb.
        memory: Memory in GiB instead of a GPU's name.
        json: Print JSON; sizes are bytes.
    """

    recipe: str | None = None
    model: str | None = None
    revision: str | None = None
    arrangement: Arrangement = PolicyConfig().arrangement
    rank: int = PolicyConfig().rank
    targets: str = PolicyConfig().targets
    dtype: Dtype = "auto"
    prompt_tokens: Count = 512
    max_new_tokens: int = PolicyConfig().max_new_tokens
    generation_batch: int = PolicyConfig().generation_batch
    minibatch: Count = 32
    micro_batch: Count = 64
    micro_tokens: Count = 2048
    gradient_checkpointing: bool = False
    device: Device = "cuda"
    gpu: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    memory: Annotated[float | None, tyro.conf.arg(metavar="GIB")] = None
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def plan(argv: Sequence[str]) -> int:
    """Compute trainable parameters and memory from a model's shape, and what fits on a GPU.

    Args:
        argv: The command's arguments.

    Returns:
        0.

    Raises:
        RedteamError: If the model is unknown, its configuration broken, or an option out of range.
    """
    options = read(
        PlanOptions,
        argv,
        default=_defaults(value_of(argv, "recipe")),
        prog="redteam-env plan",
        description="Compute trainable parameters and memory from a model's shape; no weights, no GPU.",
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    found = make_plan(options)
    if options.json:
        print_json(as_json(found))
    else:
        make_console().print(page(found))
    return 0


def _defaults(recipe: str | None) -> PlanOptions:
    """Return the options that a recipe sets, and the usual ones."""
    if recipe is None:
        return PlanOptions()
    names = {field.name for field in fields(PlanOptions)}
    brought = find_recipe(recipe).options
    return PlanOptions(**{name: x for name, x in brought.items() if name in names})


def make_plan(options: PlanOptions) -> Plan:
    """Compute what the command prints.

    Args:
        options: The command's.

    Returns:
        The arrangements side by side, and batches for the chosen one.

    Raises:
        RedteamError: As :func:`plan`.
    """
    if options.model is None:
        raise RedteamError("plan needs a model or a recipe; give --model or --recipe.")
    policy = PolicyConfig(
        arrangement=options.arrangement,
        model=options.model,
        rank=options.rank,
        targets=options.targets,
        max_new_tokens=options.max_new_tokens,
        generation_batch=options.generation_batch,
        dtype=options.dtype,
        gradient_checkpointing=options.gradient_checkpointing,
    )
    if options.gpu is not None and options.device == "cpu":
        raise RedteamError(f"--gpu {options.gpu!r} and --device cpu exclude each other; give one.")
    available = memory_of(options.gpu, options.memory)
    shape = shape_of(options.model, revision=options.revision)
    length = options.prompt_tokens + options.max_new_tokens
    batch = Batch(
        prompt_tokens=options.prompt_tokens,
        new_tokens=options.max_new_tokens,
        generation_batch=options.generation_batch,
        rows=min(options.minibatch, options.micro_batch, max(1, options.micro_tokens // length)),
    )
    columns = []
    for arrangement in dict.fromkeys((*SIDE_BY_SIDE, options.arrangement)):
        own = resolved(replace(policy, arrangement=arrangement), options.device)
        columns.append(
            Column(
                policy=own,
                parameters=count(shape, own),
                memory=predict(shape, own, batch, device=options.device),
            )
        )
    suggestion = None
    if available is not None:
        suggestion = suggest(
            shape,
            policy,
            batch,
            device=options.device,
            available=available,
            minibatch=options.minibatch,
        )
    return Plan(
        policy=policy,
        device=options.device,
        gpu=options.gpu,
        available=available,
        batch=batch,
        columns=tuple(columns),
        suggestion=suggestion,
        recipe=None if options.recipe is None else find_recipe(options.recipe),
    )
