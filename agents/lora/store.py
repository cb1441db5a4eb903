"""Policy stores: named, versioned weights over one model, behind one small interface.

:class:`AdapterStore` holds one frozen base and any number of LoRA adapters; :class:`FullStore` holds
one frozen base and whole trainable copies of it. ``base`` always names the frozen base itself.
"""

import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from agents.lora.adapters import (
    ADAPTER_WEIGHTS,
    Adaptable,
    SavedAdapter,
    base_kept,
    read_adapter,
)
from agents.lora.attention import share_keys
from agents.lora.config import PolicyConfig
from agents.lora.folding import (
    Folding,
    Layers,
    adapted_layers,
    factors,
    folded,
    lend,
    plain_layers,
    size,
    twin,
)
from agents.models import LoadedModel, quiet
from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import BASE

_FOLD_LIMIT = 2**27
"""Most parameters that :meth:`AdapterStore.sampling` copies: 512 MiB. Above that an adapter's own
products take little time beside the layers', while copies would double the weights."""
_FOLD_RATIO = 4
"""Most parameters that :meth:`AdapterStore.learning` folds into, for each one of the adapter: the
gradient of a folded weight costs as much as a pass through it, that of a small adapter does not."""


class Store(Protocol):
    """Named weights over one model."""

    base: LoadedModel
    versions: dict[str, int]

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """Return the trainable tensors of named weights, in a fixed order."""
        ...

    def using(self, name: str, *, train: bool = False) -> Any:
        """Return a context manager that yields the model computing with the named weights."""
        ...

    def sampling(self, name: str) -> Any:
        """Return the same for generation: no gradients, evaluation mode."""
        ...

    def learning(self, name: str) -> Any:
        """Return the same for log-probabilities with gradients, in evaluation mode."""
        ...

    def save(self, name: str, directory: Path) -> None:
        """Write named weights into a new directory."""
        ...

    def restore(self, name: str, directory: Path) -> None:
        """Read them back into weights that exist."""
        ...

    def spare(self, name: str, *, like: str) -> None:
        """Make a place for weights of the same shape that are never trained, if it is not there."""
        ...

    def freeze(self, name: str, directory: Path) -> None:
        """Read saved weights into some that are never trained; they are made if they are not there."""
        ...


@contextmanager
def twice_differentiable(model: Any) -> Iterator[None]:
    """Let a model compute in operations that have second derivatives.

    Fused attention has none. Gradient checkpoints would compute again outside this context, so all
    activations are kept.
    """
    layers = [x for x in model.modules() if getattr(x, "gradient_checkpointing", False)]
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True


def lora_config(config: PolicyConfig) -> LoraConfig:
    """Return PEFT's settings for a policy's."""
    targets = config.targets.strip()
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha or 2 * config.rank,
        lora_dropout=config.dropout,
        target_modules=targets
        if targets == "all-linear"
        else [name.strip() for name in targets.split(",")],
        bias="none",
        task_type="CAUSAL_LM",
    )


def _layout(adapter: SavedAdapter) -> LoraConfig:
    """Return PEFT's settings for layers of just the shape that a saved adapter has."""
    ranks = {layer: x.rank for layer, x in adapter.layers.items()}
    alphas: dict[str, Any] = {layer: x.alpha for layer, x in adapter.layers.items()}
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(ranks),
        rank_pattern={re.escape(k): x for k, x in ranks.items() if x != rank},
        alpha_pattern={re.escape(k): x for k, x in alphas.items() if x != alpha},
        bias="none",
        task_type="CAUSAL_LM",
    )


class AdapterStore:
    """One frozen base and named LoRA adapters on it.

    PEFT turns ``requires_grad`` off on every adapter but the active one. So each adapter's parameter
    list is kept from its creation, and gradients are switched on again after each change: a loss
    computed under one adapter can still be differentiated after another one was used.

    PEFT changes the base's modules in place. Twins of the module tree, made before and holding the
    very same tensors (:mod:`agents.lora.folding`), are plain models: one computes the base without
    PEFT's overhead, one is lent weights with an adapter folded in while completions are sampled, one
    is lent the adapter itself for gradients.
    """

    def __init__(self, base: LoadedModel) -> None:
        self.base = base
        self.versions: dict[str, int] = {BASE: 0}
        self._peft: Any = None
        self._active: str | None = None
        self._adaptable = Adaptable(base.model)
        share_keys(base.model)
        self._plain = twin(base.model)
        self._folded = twin(base.model)
        self._lent = twin(base.model)
        self._layers: dict[str, Layers] = {}
        self._parameters: dict[str, list[torch.nn.Parameter]] = {BASE: []}

    def add(self, name: str, config: LoraConfig, *, seed: int) -> None:
        """Put a fresh adapter on the base; it changes nothing until it is trained.

        Args:
            name: A new name.
            config: PEFT's settings.
            seed: Seed of its initial weights.

        Raises:
            RedteamError: If the name is taken or a target module does not exist.
        """
        if name in self.versions:
            raise RedteamError(f"The weights {name!r} exist already; choose another name.")
        targets = config.target_modules  # PEFT puts the names that it finds in their place
        gpus = [self.base.model.device] if self.base.model.device.type == "cuda" else []
        with torch.random.fork_rng(gpus), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
            # it is about merging, which is done into copies only
            warnings.filterwarnings("ignore", "Model with `tie_word_embeddings=True`", UserWarning)
            torch.manual_seed(seed)
            try:
                if self._peft is None:
                    self._peft = get_peft_model(self.base.model, config, adapter_name=name)
                else:
                    self._peft.add_adapter(name, config)
            except ValueError as error:
                raise RedteamError(
                    f"No adapter can be put on {self.base.spec!r} with targets "
                    f"{targets!r}: {str(error).splitlines()[0]}"
                ) from error
        self._parameters[name] = [
            parameter
            for key, parameter in self._peft.named_parameters()
            if "lora_" in key and name in key.split(".")
        ]
        self._layers[name] = plain_layers(self.base.model, name)
        self._active = None
        self._enable_gradients()
        self.versions[name] = 0

    def load(self, name: str, directory: Path) -> None:
        """Put an adapter on the base that PEFT, or :meth:`save`, wrote, in layers of its own shape.

        Args:
            name: A new name.
            directory: Its folder.

        Raises:
            RedteamError: If it is refused (:mod:`agents.lora.adapters`).
        """
        adapter = read_adapter(directory, self._adaptable)
        with base_kept(self.base, directory):
            self.add(name, _layout(adapter), seed=0)
            self._put(name, adapter)

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """Return an adapter's tensors in a fixed order; none for the base."""
        return self._parameters[_known(name, self.versions)]

    @contextmanager
    def using(self, name: str, *, train: bool = False) -> Iterator[Any]:
        """Yield the model with one adapter active, or the plain ``base``, which never trains."""
        _known(name, self.versions)
        if name == BASE:
            yield self._plain
            return
        model = self.base.model
        if self._active != name:
            self._peft.base_model.set_adapter(name)
            self._enable_gradients()
            self._active = name
        if model.training != train:  # stays so: a checkpointed backward pass computes in it again
            model.train(train)
        yield model

    @contextmanager
    def sampling(self, name: str) -> Iterator[Any]:
        """Yield a model that samples as :meth:`using` would, up to rounding, and faster.

        A small float32 base gets ``W + scaling * B A`` in place of its weights, in new tensors that
        live as long as the context: the base's own are never written to, and nothing can be out of
        date. A large one is lent the adapter. A base of another format, and adapters of embeddings, are
        used as PEFT has them.
        """
        layers = self._layers.get(name)
        if not layers:
            with self.using(name) as model:
                yield model
            return
        if size(layers) > _FOLD_LIMIT:
            with self._lending(name) as model:
                yield model
            return
        own = {}
        try:
            for key, layer in layers.items():
                module = self._folded.get_submodule(key)
                own[module] = module.weight
                with torch.no_grad():
                    weight = folded(layer, name)
                module.weight = torch.nn.Parameter(weight, requires_grad=False)
            yield self._folded
        finally:
            for module, weight in own.items():
                module.weight = weight

    @contextmanager
    def learning(self, name: str) -> Iterator[Any]:
        """Yield a model that computes as :meth:`using` does, up to rounding, for gradients.

        Where an adapter is not small beside its layers, as in a model of a few hundred thousand
        parameters, it is folded in by differentiable operations: the gradients are the same, in
        fewer and larger ones. Otherwise its part is added to each layer's output in place.
        """
        layers = self._layers.get(name)
        if not layers:
            with self.using(name) as model:
                yield model
        elif size(layers) <= _FOLD_RATIO * _own_size(layers, name):
            yield Folding(self._plain, layers, name)
        else:
            with self._lending(name) as model:
                yield model

    @contextmanager
    def _lending(self, name: str) -> Iterator[Any]:
        lend(self._lent, self._layers[name], name)
        try:
            yield self._lent
        finally:
            lend(self._lent, self._layers[name], None)

    def _enable_gradients(self) -> None:
        for tensors in self._parameters.values():
            for tensor in tensors:
                tensor.requires_grad = True

    def save(self, name: str, directory: Path) -> None:
        """Write an adapter in PEFT's format into a new directory."""
        directory.mkdir(parents=True)
        tensors = _adapter_tensors(self._peft, name)
        save_file(
            {k: t.detach().cpu().contiguous() for k, t in tensors.items()},
            directory / ADAPTER_WEIGHTS,
        )
        config = copy.deepcopy(self._peft.peft_config[name])
        config.base_model_name_or_path = self.base.spec
        config.inference_mode = True
        # PEFT keeps a set, whose order is another one in each process
        config.target_modules = sorted(config.target_modules)
        config.save_pretrained(str(directory))

    def restore(self, name: str, directory: Path) -> None:
        """Read a saved adapter into one that is there: exactly, or not at all.

        Layers that the saved one has not, and ranks that it has fewer of, add nothing.

        Raises:
            RedteamError: If it is refused, or has another rank, alpha or more layers.
        """
        adapter = read_adapter(directory, self._adaptable)
        config = self._peft.peft_config[name]
        own = {"r": (adapter.rank, config.r), "lora_alpha": (adapter.alpha, config.lora_alpha)}
        if differing := {k: pair for k, pair in own.items() if pair[0] != pair[1]}:
            listed = "; ".join(f"{k}: {a!r} there, {b!r} here" for k, (a, b) in differing.items())
            raise RedteamError(
                f"The adapter in {str(directory)!r} has another shape or scale as plain LoRA ({listed}), so "
                "its weights do not fit this model and rank; give its --rank and --alpha."
            )
        if more := sorted(set(adapter.layers) - set(adapted_layers(self.base.model, name))):
            raise RedteamError(
                f"The weights in {str(directory)!r} do not fit: they adapt {len(more)} layers that the "
                f"targets here leave out, first {more[0]!r}; name these layers in --targets, too."
            )
        self._put(name, adapter)

    @torch.no_grad()
    def _put(self, name: str, adapter: SavedAdapter) -> None:
        """Copy factors into an adapter's own tensors; nothing else is written to."""
        for key, layer in adapted_layers(self.base.model, name).items():
            own_a, own_b = factors(layer, name)
            saved = adapter.layers.get(key)
            own_b.zero_()
            if saved is not None:
                # what a fresh rank has in A stays, so that it can be trained
                own_a[: saved.rank].copy_(saved.a)
                scale = saved.alpha / saved.rank / layer.scaling[name]
                own_b[:, : saved.rank].copy_(saved.b.double() * scale)

    def spare(self, name: str, *, like: str) -> None:
        """Make a place for an adapter of the same shape that is never trained, if it is not there."""
        if name not in self.versions:
            self.add(name, copy.deepcopy(self._peft.peft_config[like]), seed=0)
            self._never_train(name)

    def freeze(self, name: str, directory: Path) -> None:
        """Read a saved adapter, of any rank, into one that is never trained."""
        if name in self.versions:
            self.restore(name, directory)
        else:
            self.load(name, directory)
            self._never_train(name)

    def _never_train(self, name: str) -> None:
        for tensor in self._parameters[name]:
            tensor.requires_grad = False
        self._parameters[name] = []


class FullStore:
    """One frozen base and whole trainable copies of it."""

    def __init__(self, base: LoadedModel, names: tuple[str, ...]) -> None:
        self.base = base
        self.versions: dict[str, int] = dict.fromkeys((BASE, *names), 0)
        self._models: dict[str, Any] = {BASE: base.model}
        for name in names:
            self._models[name] = copy.deepcopy(base.model).requires_grad_(requires_grad=True)

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """Return a copy's tensors in a fixed order; none for the base."""
        model = self._models[_known(name, self.versions)]
        return [] if name == BASE else list(model.parameters())

    @contextmanager
    def using(self, name: str, *, train: bool = False) -> Iterator[Any]:
        """Yield the named copy, or the frozen base."""
        model = self._models[_known(name, self.versions)]
        if model.training != train:  # stays so: a checkpointed backward pass computes in it again
            model.train(train)
        yield model

    def sampling(self, name: str) -> Any:
        """Yield the named copy, or the frozen base."""
        return self.using(name)

    def learning(self, name: str) -> Any:
        """Yield the named copy, or the frozen base."""
        return self.using(name)

    def save(self, name: str, directory: Path) -> None:
        """Write a copy, with config and tokenizer, so that it loads as a model of its own."""
        directory.mkdir(parents=True)
        with quiet():
            self._models[name].save_pretrained(directory)
            self.base.tokenizer.save_pretrained(directory)

    def restore(self, name: str, directory: Path) -> None:
        """Read a copy's tensors back."""
        tensors: dict[str, torch.Tensor] = {}
        for file in sorted(directory.glob("*.safetensors")):
            tensors.update(read_tensors(file))
        own = dict(self._models[name].named_parameters())
        _check_shapes(directory, tensors, own)
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(tensors[key])

    def spare(self, name: str, *, like: str) -> None:  # noqa: ARG002 - whole models have one shape
        """Make a place for a copy that is never trained, if it is not there."""
        if name not in self.versions:
            self.versions[name] = 0
            # as the trained copies have it: torch rounds otherwise without, so the past would differ
            self._models[name] = copy.deepcopy(self.base.model).requires_grad_(requires_grad=True)

    def freeze(self, name: str, directory: Path) -> None:
        """Read a saved copy into one that is never trained."""
        self.spare(name, like=BASE)
        self.restore(name, directory)


def _own_size(layers: Layers, name: str) -> int:
    """Return how many parameters an adapter itself has, frozen or not."""
    return sum(t.numel() for layer in layers.values() for t in factors(layer, name))


def _adapter_tensors(model: Any, name: str) -> dict[str, torch.Tensor]:
    # the default setting asks the hub whether the vocabulary was changed
    tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name=name, save_embedding_layers=False
    )
    return tensors


def _known(name: str, names: Mapping[str, int]) -> str:
    if name not in names:
        raise unknown_name("weights", name, names)
    return name


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read a file of tensors.

    Raises:
        RedteamError: If it is missing, no safetensors file, or holds numbers that are not finite.
    """
    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except Exception as error:  # safetensors raises its own class, which it does not export stably
        raise RedteamError(f"{str(file)!r} cannot be read as safetensors: {error}") from error
    for key, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise RedteamError(f"{str(file)!r} holds numbers in {key!r} that are not finite.")
    return tensors


def _check_shapes(
    directory: Path, tensors: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> None:
    wrong = sorted(
        key for key in own if key not in tensors or tensors[key].shape != own[key].shape
    ) + sorted(set(tensors) - set(own))
    if wrong:
        raise RedteamError(
            f"The weights in {str(directory)!r} do not fit this model and rank: {len(wrong)} of "
            f"{len(own)} tensors are missing, extra or of another shape, first {wrong[0]!r}. They "
            "were trained for another base or rank."
        )
