"""Whether a loaded model can carry the game, found out by a few small passes before anything is played.

Architectures differ in what they keep between tokens and in how they count padding, and transformers
passes over arguments that a model does not know. So some fail at the first sample and some sample from
a distribution that is not theirs. The probe samples two rows of unequal length, computes their
log-probabilities with a gradient to an adapter, and compares both with plain passes over whole rows.

It costs little: a copy of the module tree that shares the model's tensors is cut to its first layers,
one of each kind, and to its first words, in float32, where equal results are equal. Where no such copy
can be made or run, the whole model decides. A model is probed once in a process.
"""

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents.lora.config import PolicyConfig
from agents.lora.hf import Sampled, completion_logprobs, sample
from agents.lora.store import AdapterStore, FullStore, Store, lora_config
from agents.models import LoadedModel, first_line
from redteam_env.game import Generation, RedteamError
from redteam_env.protocols import BASE

_NAME = "probe"
_WORDS = 512
_PROMPTS = (3, 8)
"""Tokens of the two prompts: the shorter one is padded by more than a short convolution sees."""
_DRAWS = np.array([[0.3, 0.6, 0.9], [0.2, 0.5, 0.8]])
_TOLERANCE = 1e-3
_COARSE = 0.3
"""The same, nats, for whole models in number formats of less than 32 bits, in which equal results differ by 0.1."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What is wrong, and whether it was computed: a copy that is cut may fail by that alone."""

    text: str
    computed: bool = True


_passed: set[tuple[str, ...]] = set()


def check_model(base: LoadedModel, config: PolicyConfig | None = None) -> None:
    """Refuse a model that cannot be sampled from or trained, once in a process.

    Args:
        base: The model, without adapters.
        config: What of it is to be trained; nothing by default.

    Raises:
        RedteamError: If it cannot; the text names the model and the cause.
    """
    kind = type(base.model).__name__
    key = (
        base.fingerprint,
        kind,
        base.model.config.to_json_string(use_diff=False),
        str((base.model.device, base.model.dtype)),
        str(config and (config.full, config.targets)),
    )
    if key in _passed:
        return
    fault = _fault(base, config, small=True)
    if fault is not None and not fault.computed:
        fault = _fault(base, config, small=False)
    if fault is not None:
        raise RedteamError(
            f"The model {base.spec!r} ({kind}) cannot be used: {fault.text} {_cure(base, config)}"
        )
    _passed.add(key)


def _cure(base: LoadedModel, config: PolicyConfig | None) -> str:
    """Return what to do about a fault: adapters on other layers, if the model works without any."""
    if config is None or config.full or _fault(base, None, small=True) is not None:
        return "Models such as Qwen2, Qwen3, Llama, Mistral, Gemma, SmolLM and OLMo can."
    return (
        f"It works without adapters, so name other layers for them than targets = {config.targets!r}: "
        "q_proj,v_proj, say."
    )


def _fault(base: LoadedModel, config: PolicyConfig | None, *, small: bool) -> _Fault | None:
    """Return what is wrong with a model, or a small part of it; ``None`` if nothing is."""
    stage = "a copy of it"
    try:
        plain = _part(base.model) if small else base.model
        model = _copy(plain)
        rows = model.get_input_embeddings().weight.shape[0]
        prompts = [tuple((5 + 7 * k) % rows for k in range(n)) for n in _PROMPTS]
        stage = "putting an adapter on it"
        store = _store(dataclasses.replace(base, model=model), config)
        stage = "sampling with a cache"
        with store.sampling(_NAME if config else BASE) as sampler:
            sampled = sample(sampler, prompts, _DRAWS, stop_ids=(), pad_id=0, temperature=1.0)
        stage = "log-probabilities of whole rows"
        wanted = [_plain(plain, p, x.ids) for p, x in zip(prompts, sampled, strict=True)]
        fault = _compare("sampled", [x.logprobs for x in sampled], wanted, model)
        if fault is not None or config is None:
            return fault
        stage = "a gradient"
        found, gradients = _learn(store, prompts, sampled)
        if not any(bool(g.any()) for g in gradients):
            return _Fault(text="no gradient reaches what is to be trained.")
        if not all(bool(torch.isfinite(g).all()) for g in gradients):
            return _Fault(text="its gradients are no numbers.")
        return _compare("trained", found, wanted, model)
    except RedteamError as error:
        return _Fault(text=str(error), computed=False)
    except Exception as error:  # noqa: BLE001 - architectures fail with whatever their layers raise
        reason = first_line(error)[:200].rstrip(".")
        text = f"{stage} fails with {type(error).__name__}: {reason}."
        return _Fault(text=text, computed=False)


def _store(base: LoadedModel, config: PolicyConfig | None) -> Store:
    if config is not None and config.full:
        return FullStore(base, (_NAME,))
    store = AdapterStore(base)
    if config is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again where the adapters are made
            store.add(_NAME, lora_config(config), seed=0)
    return store


@torch.no_grad()
def _plain(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> list[float]:
    """Return a completion's log-probabilities as transformers alone computes them."""
    ids = torch.tensor([[*prompt, *completion]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    found: list[float] = (
        logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0].tolist()
    )
    return found


def _learn(
    store: Store, prompts: Sequence[tuple[int, ...]], sampled: Sequence[Sampled]
) -> tuple[list[list[float]], list[torch.Tensor]]:
    """Return the log-probabilities that are trained on, and their gradients."""
    generations = [
        Generation(
            prompt_ids=prompt,
            completion_ids=row.ids,
            logprobs=row.logprobs,
            adapter=_NAME,
            version=0,
            temperature=1.0,
            finished=False,
        )
        for prompt, row in zip(prompts, sampled, strict=True)
    ]
    with torch.enable_grad(), store.learning(_NAME) as model:
        found = completion_logprobs(model, generations, pad_id=0).logprobs
        gradients = torch.autograd.grad(found.sum(), store.parameters(_NAME), allow_unused=True)
    return found.tolist(), [g for g in gradients if g is not None]


def _compare(
    what: str, found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]], model: Any
) -> _Fault | None:
    values, others = np.array(found), np.array(wanted)
    if not np.isfinite(values).all() or not np.isfinite(others).all():
        return _Fault(text="its logits are no numbers (NaN or infinite): its weights are damaged.")
    off = float(np.abs(values - others).max())
    if off <= (_TOLERANCE if model.dtype == torch.float32 else _COARSE):
        return None
    return _Fault(
        text=f"with padding and a cache, its log-probabilities as they are {what} are off by {off:.2g} "
        "nats from those of whole rows: it counts padding, or keeps a state of its own."
    )


def _copy(model: Any, shared: Sequence[Any] = ()) -> Any:
    """Return a model with modules and settings of its own and the same tensors."""
    kept = (*model.parameters(), *model.buffers(), *shared)
    return copy.deepcopy(model, {id(x): x for x in kept})


def _part(model: Any) -> Any:
    """Return a copy with the first layers, one of each kind at least, and the first words."""
    config = model.config.get_text_config(decoder=True)
    count = config.num_hidden_layers
    stacks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    ]
    layers = [layer for name in stacks for layer in model.get_submodule(name)]
    kinds = list(getattr(config, "layer_types", None) or [""] * count)
    marks = [
        (kinds[k], *(repr(model.get_submodule(name)[k]) for name in stacks)) for k in range(count)
    ]
    kept = 1 + max(marks.index(mark) for mark in marks)
    part = _copy(model, shared=layers[kept:] if len(stacks) == 1 else ())
    own = part.config.get_text_config(decoder=True)
    for name in stacks:
        stack = part.get_submodule(name)
        part.set_submodule(name, torch.nn.ModuleList(list(stack)[:kept]))
    own.num_hidden_layers = kept
    if "layer_types" in vars(own):  # in some it follows from their number
        own.layer_types = kinds[:kept]
    _narrow(part.get_input_embeddings(), "num_embeddings")
    _narrow(part.get_output_embeddings(), "out_features")
    _widen(part)
    return part


def _widen(part: Any) -> None:
    """Put float32 copies in the place of tensors of other floating formats, which are the model's own."""
    for module in part.modules():
        for name, tensor in module.named_parameters(recurse=False):
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                setattr(module, name, torch.nn.Parameter(tensor.float(), requires_grad=False))
        for name, tensor in module.named_buffers(recurse=False):
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                setattr(module, name, tensor.float())


def _narrow(layer: Any, size: str) -> None:
    """Cut an embedding or an output head to its first words."""
    for name in ("weight", "bias"):
        tensor = getattr(layer, name, None)
        if tensor is not None:
            setattr(layer, name, torch.nn.Parameter(tensor[:_WORDS], requires_grad=False))
    setattr(layer, size, layer.weight.shape[0])
    if (getattr(layer, "padding_idx", None) or 0) >= _WORDS:
        layer.padding_idx = None
