"""The gate for LoRA adapters that others saved: nothing else reads an adapter's directory.

:func:`read_adapter` reads ``adapter_config.json`` by a schema of our own and the weights beside it, into
low-rank factors for layers of the base (:class:`SavedAdapter`). PEFT sees neither file. It
would compile the patterns that a file names, import the modules that it names, and rewrite the base for
some initialisations, on which all other adapters stand.

What an adapter adds to a layer's weight is ``alpha / rank * B A``. Whatever can be written so exactly is:

- scales by the root of the rank (rsLoRA, arXiv 2312.03732, section 4), and ranks and alphas of single
  layers;
- PiSSA (arXiv 2404.02948, equations 2 to 4) and OLoRA (arXiv 2406.01775, section 3), which begin with
  factors ``B0 A0`` of the weight and take these out of it: they add ``B A - B0 A0``, of twice the rank.
  (PEFT rounds what is left of the weight to the base's format; nothing is rounded here.)

Everything else is refused in one line with its cause.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from agents.lora.adapter_config import (
    ADAPTER_CONFIG,
    REMEDY,
    AdapterConfig,
    Start,
    cut,
    read_config,
)
from agents.lora.cards import WEIGHTS_FILE, check_base, read_card
from agents.models import HUB_CACHE, LoadedModel, canonical, fingerprint
from redteam_env.game import RedteamError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_MOST_HEADER_BYTES = 2**24
_FACTOR = re.compile(
    r"base_model\.model\.(?P<layer>.+)\.(lora_(?P<linear>[AB])\.weight|lora_embedding_(?P<words>[AB]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """What an adapter adds to a layer's weight: ``alpha / rank * b @ a``.

    Attributes:
        a: (rank, in).
        b: (out, rank).
        alpha: Plain LoRA's alpha.
    """

    a: torch.Tensor
    b: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """The rank."""
        return self.a.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAdapter:
    """An adapter as plain LoRA.

    Attributes:
        directory: Where it was read.
        alpha: The alpha that it names, doubled where factors of the base were taken out.
        layers: The factors, by the names of layers in the base.
    """

    directory: Path
    alpha: float
    layers: Mapping[str, Factors]

    @property
    def rank(self) -> int:
        """The largest rank of a layer."""
        return max(x.rank for x in self.layers.values())


@dataclass(frozen=True, slots=True)
class Adaptable:
    """The layers of a base that can have factors, as they are before PEFT wraps them.

    Attributes:
        model: The base.
        modules: The layers by name.
        head: The name of the output head, which ``all-linear`` leaves out.
    """

    model: Any
    modules: Mapping[str, Any] = field(init=False)
    head: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Find the layers."""
        head = self.model.get_output_embeddings()
        modules = dict(self.model.named_modules())
        found = {name: module for name, module in modules.items() if _sizes(module) is not None}
        object.__setattr__(self, "modules", found)
        object.__setattr__(self, "head", next((k for k, x in found.items() if x is head), None))

    def of(self, config: AdapterConfig) -> set[str]:
        """Return the names of the layers that an adapter's configuration speaks of."""
        return {
            name
            for name, module in self.modules.items()
            if config.adapts(
                name, linear=name != self.head and not isinstance(module, torch.nn.Embedding)
            )
        }


def read_adapter(directory: Path, base: Adaptable) -> SavedAdapter:
    """Read an adapter for a base, which it leaves as it is.

    Args:
        directory: Folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        base: The layers that it may be for.

    Raises:
        RedteamError: As :func:`read_config`, or if the weights are missing, damaged, not finite, or do not
            fit the base and the configuration.
    """
    config = read_config(directory)
    layers = base.of(config)
    file = directory / ADAPTER_WEIGHTS
    try:
        _check_file(file)
        # the header alone is read until all shapes are known to be right
        with safe_open(file, framework="pt") as stream:
            shapes = {key: tuple(stream.get_slice(key).get_shape()) for key in stream.keys()}  # noqa: SIM118
            keys = _sorted_keys(directory, shapes, layers)
            _check_shapes(directory, config, shapes, keys, base)
            for key in sorted(shapes.keys() - {x for pair in keys.values() for x in pair}):
                _check_copy(directory, key, stream, base.model)
            found = {}
            for layer, (a, b) in keys.items():
                found[layer] = Factors(
                    a=_checked(file, a, stream.get_tensor(a)),
                    b=_checked(file, b, stream.get_tensor(b)),
                    alpha=config.alpha_of(layer),
                )
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise RedteamError(f"{str(file)!r} cannot be read as safetensors: {reason}") from error
    if config.start == "plain":
        return SavedAdapter(directory=directory, alpha=config.alpha, layers=found)
    without = {
        layer: _without_start(directory, config.start, base.modules[layer], layer, factors)
        for layer, factors in found.items()
    }
    return SavedAdapter(directory=directory, alpha=2 * config.alpha, layers=without)


def check_named_base(directory: Path, base: LoadedModel, *, allow_other: bool) -> None:
    """Refuse an adapter that was made for another base, by its card or else by the name it gives.

    A card's fingerprint of the weights decides, wherever the base lies now. A name is the base's if it is
    what the base was loaded by, its directory, or the hub's id of that.

    Args:
        directory: The adapter's folder, or that of a whole model with a card.
        base: What it is to be put on.
        allow_other: Put it there all the same.

    Raises:
        RedteamError: If it is for another base; the text names both.
    """
    if allow_other:
        return
    if (directory / WEIGHTS_FILE).is_file():
        card = read_card(directory / WEIGHTS_FILE)
        if "base_fingerprint" in card or not (directory / ADAPTER_CONFIG).is_file():
            otherwise = ", or --allow-other-base if they are meant for this one, too"
            check_base(directory, card, base, otherwise=otherwise)
            return
    named = read_config(directory).base
    own = {_identity(base.spec), _identity(str(base.model.name_or_path))}
    if named is not None and _identity(named) not in own:
        raise RedteamError(
            f"The adapter in {str(directory)!r} was made for the base {named!r}, not for {base.spec!r}. "
            "Give its base as --model; if that is the same model, or it is meant for this one, too, give "
            "--allow-other-base."
        )


@contextmanager
def base_kept(base: LoadedModel, directory: Path) -> Iterator[None]:
    """Compare every bit of a base before and after an adapter is put on it.

    Raises:
        RedteamError: If it changed.
    """
    before = fingerprint(base.model, full=True)
    yield
    if fingerprint(base.model, full=True) != before:
        raise RedteamError(
            f"Loading {str(directory)!r} changed the weights of the base {base.spec!r}, on which all "
            "other agents play. That is a fault of this library: report it, and start again without that "
            "adapter."
        )


def _sizes(module: Any) -> tuple[int, int] | None:
    """Return how many numbers come out of a layer and go in, ``None`` if it can have no factors."""
    if isinstance(module, torch.nn.Embedding):
        return module.embedding_dim, module.num_embeddings
    if type(module).__name__ == "Conv1D":  # transformers' linear layer with the weight transposed
        return module.weight.shape[1], module.weight.shape[0]
    if isinstance(getattr(module, "in_features", None), int):
        return module.out_features, module.in_features
    return None


def _identity(name: str) -> str:
    """Return a model's name in a form in which two names of the same model are equal."""
    text = canonical(name)
    if cached := HUB_CACHE.search(text):
        text = f"{cached[1]}/{cached[2]}"
    return text if Path(text).is_dir() else text.casefold()


def _check_file(file: Path) -> None:
    """Refuse weights of another kind, and such as would take long to read even the header of."""
    if not file.is_file():
        others = sorted(x.name for x in file.parent.glob("adapter_model.*") if x != file)
        other = f"only {others[0]}, and nothing but safetensors is read" if others else "none"
        raise RedteamError(
            f"{str(file)!r} is missing: the adapter's weights must be there ({other})."
        )
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
    if size > _MOST_HEADER_BYTES:
        raise RedteamError(
            f"{str(file)!r} cannot be read as safetensors: its header has {size} bytes, at most "
            f"{_MOST_HEADER_BYTES} are read."
        )


def _misfit(directory: Path, why: str) -> RedteamError:
    return RedteamError(f"The weights in {str(directory)!r} do not fit this model and rank: {why}.")


def _sorted_keys(
    directory: Path, shapes: Mapping[str, Any], layers: set[str]
) -> dict[str, tuple[str, str]]:
    """Return for each layer the names of its two factors."""
    found: dict[str, dict[str, str]] = {}
    for key in shapes:
        if match := _FACTOR.fullmatch(key):
            found.setdefault(match["layer"], {})[match["linear"] or match["words"]] = key
    if unknown := sorted(found.keys() - layers):
        raise _misfit(
            directory,
            f"they adapt {len(unknown)} layers that the base has not, or that {ADAPTER_CONFIG} does not "
            f"name, first {cut(unknown[0])!r}",
        )
    if missing := sorted(x for x in layers if len(found.get(x, ())) < 2):
        raise _misfit(
            directory,
            f"of {len(layers)} layers that {ADAPTER_CONFIG} names {len(missing)} are missing or lack a "
            f"factor, first {missing[0]!r}",
        )
    if not found:
        raise _misfit(directory, f"the base has none of the layers that {ADAPTER_CONFIG} names")
    return {layer: (pair["A"], pair["B"]) for layer, pair in sorted(found.items())}


def _check_shapes(
    directory: Path,
    config: AdapterConfig,
    shapes: Mapping[str, tuple[int, ...]],
    keys: Mapping[str, tuple[str, str]],
    base: Adaptable,
) -> None:
    for layer, (a, b) in keys.items():
        out, into = _sizes(base.modules[layer]) or (0, 0)
        rank = config.rank_of(layer)
        for key, wanted in ((a, (rank, into)), (b, (out, rank))):
            if shapes[key] != wanted:
                raise _misfit(directory, f"{key!r} has the shape {shapes[key]}, not {wanted}")


def _checked(file: Path, key: str, tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.float() if tensor.is_floating_point() else None
    if found is None or not bool(found.isfinite().all()):
        raise RedteamError(
            f"{str(file)!r} is refused: {key!r} holds something else than finite numbers of 32 bits. Train or export "
            "the adapter again."
        )
    return found


def _check_copy(directory: Path, key: str, stream: Any, model: Any) -> None:
    """Refuse tensors that are no factors, unless they are copies of the base's own weights.

    PEFT saves such copies beside factors of the embeddings or the head.
    """
    name = key.removeprefix("base_model.model.").replace("base_layer.", "")
    weights = {x.replace("base_layer.", ""): t for x, t in model.state_dict().items()}
    if name not in weights or "lora_" in name:
        cause = f"it holds the tensor {cut(key)!r}, which is no factor of LoRA"
    elif tuple(stream.get_slice(key).get_shape()) == tuple(weights[name].shape) and torch.equal(
        stream.get_tensor(key).to(weights[name]), weights[name]
    ):
        return
    else:
        cause = f"it holds weights of the base's own ({cut(key)!r}) that are not this base's"
    raise RedteamError(f"The adapter in {str(directory)!r} is refused: {cause}. {REMEDY}")


def _without_start(
    directory: Path, start: Start, module: Any, layer: str, factors: Factors
) -> Factors:
    """Return what an adapter adds that began with factors of the weight and took these out of it."""
    if not isinstance(module, torch.nn.Linear) or not module.weight.is_floating_point():
        raise RedteamError(
            f"The adapter in {str(directory)!r} is refused: {start} takes factors out of {layer!r}, which "
            f"is no plain linear layer. {REMEDY}"
        )
    weight, rank = module.weight.detach().float(), factors.rank
    if rank > min(weight.shape):
        raise _misfit(directory, f"{start} cannot have the rank {rank} in {layer!r}")
    if start == "pissa":
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        root = values[:rank].sqrt()
        b, a = left[:, :rank] * root, root[:, None] * right[:rank]
        unscaled = factors.rank / factors.alpha  # the weight's own part, whatever the scale
    else:
        left, right = torch.linalg.qr(weight)
        b, a, unscaled = left[:, :rank], right[:rank], 1.0
    own = -unscaled * b
    return Factors(
        a=torch.cat([factors.a, a.to(factors.a.device)]),
        b=torch.cat([factors.b, own.to(factors.b.device)], dim=1),
        alpha=2 * factors.alpha,
    )
