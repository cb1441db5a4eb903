"""A plan as a table for a terminal, or as JSON."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from agents.lora.config import PolicyConfig
from agents.plan.fit import GIB, USABLE, Suggestion, fits, fitting_gpus, smallest_gpu
from agents.plan.memory import MIB, Batch, Device, Memory, Parameters
from redteam_env.recipes import Recipe
from redteam_env.utils.argv import option_of
from redteam_env.utils.tables import FittedTable
from redteam_env.utils.text import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One arrangement."""

    policy: PolicyConfig
    parameters: Parameters
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Arrangements side by side.

    Attributes:
        policy: The settings, with the arrangement that batches are suggested for.
        device: Where everything is held.
        gpu: Name of the GPU, if one was given.
        available: Bytes to fit into, if they were given.
        batch: What goes through the model at once.
        columns: One an arrangement.
        suggestion: The largest batches that fit; nothing if none does, or no memory was given.
        recipe: The recipe whose settings are planned, if one was named.
    """

    policy: PolicyConfig
    device: Device
    gpu: str | None
    available: int | None
    batch: Batch
    columns: tuple[Column, ...]
    suggestion: Suggestion | None
    recipe: Recipe | None = None

    @property
    def chosen(self) -> Column:
        """The arrangement that batches are suggested for."""
        return next(x for x in self.columns if x.policy.arrangement == self.policy.arrangement)


_PURPOSES: tuple[tuple[str, Callable[[Memory], int]], ...] = (
    ("weights", lambda m: m.weights),
    ("adapters", lambda m: m.adapters),
    ("reference", lambda m: m.reference),
    ("optimiser", lambda m: m.optimiser),
    ("runtime", lambda m: m.runtime),
    ("sampling: KV cache", lambda m: m.kv_cache),
    ("sampling: the rest", lambda m: m.sampling_work),
    ("training: gradients", lambda m: m.gradients),
    ("training: activations", lambda m: m.activations),
    ("training: logits and the rest", lambda m: m.training_work),
    ("saving: copies", lambda m: m.saving),
    ("peak while sampling", lambda m: m.sampling),
    ("peak while training", lambda m: m.training),
    ("peak", lambda m: m.peak),
)
_SECTIONS = ("runtime", "sampling: the rest", "training: logits and the rest", "saving: copies")


def page(plan: Plan) -> RenderableType:
    """Return a plan for printing; names from outside are escaped."""
    model = plan.columns[0].parameters.model
    batch = plan.batch
    title = safe_text(plan.policy.model, "bold")
    title.append(f": {model / 1e6:,.1f} M parameters, LoRA rank {plan.policy.rank} on ")
    title.append_text(safe_text(plan.policy.targets))
    sizes = Text(
        f"Prompts of {batch.prompt_tokens} and completions of {batch.new_tokens} tokens; "
        f"{batch.generation_batch} sampled together, {batch.rows} in a training pass"
        f"{', gradient checkpointing' if plan.policy.gradient_checkpointing else ''}"
    )
    return Group(title, sizes, _table(plan), *_verdict(plan), *_of_recipe(plan))


def _table(plan: Plan) -> FittedTable:
    table = FittedTable("", *(column.policy.arrangement for column in plan.columns))
    bold = [x.policy.arrangement == plan.policy.arrangement for x in plan.columns]

    def row(name: str, cell: Callable[[Column], str]) -> None:
        cells = zip(map(cell, plan.columns), bold, strict=True)
        table.row(name, *(Text(x, "bold" if chosen else "") for x, chosen in cells))

    row("trained", lambda c: _trained(c.parameters))
    row("parameters each", lambda c: _millions(c.parameters.each))
    row("full / each", lambda c: _ratio(c.parameters.model, c.parameters.each))
    row("parameters in all", lambda c: _millions(c.parameters.total))
    row("full / all", lambda c: _ratio(c.parameters.model, c.parameters.total))
    row("number format", lambda c: c.policy.dtype)
    table.section()
    for name, amount in _PURPOSES:
        if any(amount(column.memory) for column in plan.columns):
            row(name, _size_of(amount))
        if name in _SECTIONS:
            table.section()
    if plan.available is not None:
        available = plan.available
        row("fits", lambda c: "yes" if fits(c.memory, available) else "no")
    elif plan.device == "cuda":
        row("smallest GPU", lambda c: smallest_gpu(c.memory) or "none of them")
    return table


def _size_of(amount: Callable[[Memory], int]) -> Callable[[Column], str]:
    return lambda column: _size(amount(column.memory))


def _verdict(plan: Plan) -> list[Text]:
    note = Text(
        "Under adapters the reference is the base with adapters off. Least favourable prompts: none "
        "shares its first tokens with another. An algorithm's own weights (a critic) are not counted."
    )
    note.append(_engine(plan))
    if plan.device == "cpu":
        note.append(
            "\nThis is what is held: glibc can keep as much again, or more, of what was freed, unless "
            "MALLOC_MMAP_THRESHOLD_=65536 is in the environment."
        )
    share = f"{USABLE:.0%} of the memory is planned with"
    if plan.available is None:
        given = "--memory" if plan.device == "cpu" else "--gpu or --memory"
        return [note, Text(f"{share}. {given} suggests batch sizes.")]
    place = plan.gpu or plan.device
    lines = [note, Text(f"{place}: {_size(plan.available)}; {share}.")]
    if plan.suggestion is None:
        text = f"{plan.policy.arrangement} does not fit, not even one sequence at a time."
        if not plan.policy.gradient_checkpointing:
            text += " --gradient-checkpointing, shorter prompts or a smaller model need less."
        return [*lines, Text(text)]
    found = plan.suggestion
    options = (
        f"--generation-batch {found.generation_batch} --micro-batch {found.micro_batch} "
        f"--micro-tokens {found.micro_tokens}"
    )
    return [*lines, Text(f"Largest batches for {plan.policy.arrangement}: {options}")]


def _engine(plan: Plan) -> str:
    """Return what an engine beside the trainer takes, in words: one copy of one model, whatever is trained."""
    weights = plan.columns[0].parameters.model
    sizes = {"float32": 4 * weights, "bfloat16": 2 * weights}
    wanted = {c.policy.dtype: _size(sizes[c.policy.dtype]) for c in plan.columns}
    copies = " or ".join(f"{size} in {dtype}" for dtype, size in wanted.items())
    return (
        f"\nAn engine (--backend vllm) takes one more copy of the model, {copies}, and --kv-cache-gb: it holds "
        "all adapters, but one whole model, and reads the other from --adapter-dir when that one is to move."
    )


def _of_recipe(plan: Plan) -> list[Text]:
    """Return what the recipe needs, and where it fits."""
    recipe = plan.recipe
    if recipe is None:
        return []
    peak = _size(plan.chosen.memory.peak)
    places = ", ".join(fitting_gpus(plan.chosen.memory)) or f"none of the known GPUs ({peak})"
    fitting = (
        f"{recipe.name} fits on: {places}. Each of several training processes holds all of this."
    )
    needs = [f"It needs {option_of(name)}: {what}" for name, what in recipe.needs.items()]
    return [safe_text(x) for x in (fitting, *needs, *recipe.notes)]


def as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON; sizes are bytes."""
    policy = plan.policy
    return {
        "model": policy.model,
        "parameters": plan.columns[0].parameters.model,
        "rank": policy.rank,
        "targets": policy.targets,
        "device": plan.device,
        "gpu": plan.gpu,
        "available": plan.available,
        "gradient_checkpointing": policy.gradient_checkpointing,
        "batch": asdict(plan.batch),
        "arrangements": {c.policy.arrangement: _column(plan, c) for c in plan.columns},
        "suggested": None
        if plan.suggestion is None
        else {"arrangement": policy.arrangement, **asdict(plan.suggestion)},
        **({} if plan.recipe is None else {"recipe": _recipe(plan, plan.recipe)}),
    }


def _recipe(plan: Plan, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "fits_on": fitting_gpus(plan.chosen.memory),
        "needs": dict(recipe.needs),
    }


def _column(plan: Plan, column: Column) -> dict[str, Any]:
    parameters, memory = column.parameters, column.memory
    return {
        "dtype": column.policy.dtype,
        "trained": {
            "number": parameters.number,
            "each": parameters.each,
            "full_over_each": parameters.model / parameters.each,
            "total": parameters.total,
            "full_over_total": parameters.model / parameters.total,
        },
        "memory": {
            **asdict(memory),
            "resident": memory.resident,
            "sampling": memory.sampling,
            "training": memory.training,
            "peak": memory.peak,
        },
        "fits": None if plan.available is None else fits(memory, plan.available),
        "smallest_gpu": smallest_gpu(memory) if plan.device == "cuda" else None,
    }


def _trained(parameters: Parameters) -> str:
    one, more = ("copy", "copies") if parameters.full else ("adapter", "adapters")
    return f"{parameters.number} {one if parameters.number == 1 else more}"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.{1 if number >= 1e7 else 3}f} M"


def _ratio(model: int, trained: int) -> str:
    return f"{model / trained:.1f}x"


def _size(number: int) -> str:
    if number == 0:
        return "0"
    return f"{number / GIB:,.1f} GiB" if number >= GIB else f"{number / MIB:,.0f} MiB"
