"""Plain models that compute with an adapter, without PEFT's overhead and with the same results.

PEFT changes a model's modules in place. A *twin* has modules of its own and the very same tensors.
Three ways to compute in one: weights with the adapter folded in, ``W + s B A``, made anew for
sampling; the same by differentiable operations, for adapters that are not small beside their layers;
and :class:`LowRank`, which adds the adapter's part to the layer's own output in place.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners import lora

from agents.lora.lean import lean
from agents.lora.logprobs import refuse_second_derivatives

_FEW_ROWS = range(8, 65)
"""With so many rows on the CPU, a product with the weight as its first factor is quicker."""

Layers = dict[str, Any]
"""PEFT's layers that carry an adapter, by their names in the plain model."""


def twin(model: Any) -> Any:
    """Return a model with modules of its own and the same tensors, quicker, for frozen weights."""
    shared = (model.config, *model.parameters(), *model.buffers())
    made = copy.deepcopy(model, {id(x): x for x in shared})
    for name, module in list(made.named_modules()):
        if type(module) is torch.nn.Linear:
            made.set_submodule(name, Linear(module))
    for name, module in list(made.named_modules()):
        if (quicker := lean(module)) is not None:
            made.set_submodule(name, quicker)
    return made


def lend(made: Any, layers: Layers, name: str | None) -> None:
    """Lend the layers of a twin an adapter, or take it back with ``None``."""
    for key, layer in layers.items():
        own = None
        if name is not None:
            own = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
        made.get_submodule(key).adapter = own


def adapted_layers(model: Any, name: str) -> Layers:
    """Return the layers that carry an adapter."""
    return {
        key: module
        for key, module in model.named_modules()
        if isinstance(module, lora.LoraLayer) and name in {*module.lora_A, *module.lora_embedding_A}
    }


def factors(layer: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an adapter's own factors in a layer, A (rank, in) and B (out, rank)."""
    if name in layer.lora_A:
        return layer.lora_A[name].weight, layer.lora_B[name].weight
    return layer.lora_embedding_A[name], layer.lora_embedding_B[name]


def plain_layers(model: Any, name: str) -> Layers:
    """Return the layers that carry an adapter.

    None if one of them is another than a plain linear layer in float32.
    """
    layers = adapted_layers(model, name)
    plain = all(
        type(layer) is lora.Linear
        and type(layer.get_base_layer()) is torch.nn.Linear
        and layer.get_base_layer().weight.dtype == torch.float32
        for layer in layers.values()
    )
    return layers if plain else {}


def size(layers: Layers) -> int:
    """Return how many parameters the layers under an adapter have."""
    return sum(layer.get_base_layer().weight.numel() for layer in layers.values())


def folded(layer: Any, name: str) -> torch.Tensor:
    """Return a layer's weight with an adapter folded in, a new tensor."""
    weight, a, b = (
        layer.get_base_layer().weight,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
    )
    return torch.addmm(weight, b, a, alpha=layer.scaling[name])


class Folding:
    """A plain model that computes with an adapter folded into its weights, differentiably."""

    training = False

    def __init__(self, model: Any, layers: Mapping[str, Any], name: str) -> None:
        self.device = model.device
        self.config = model.config
        self._model = model
        self._weights = {f"{key}.weight": folded(layer, name) for key, layer in layers.items()}

    def __call__(self, **inputs: Any) -> Any:
        """Compute as the model does."""
        # no other name stands for one of these weights, so none is looked for in every call
        return torch.func.functional_call(
            self._model, self._weights, kwargs=inputs, tie_weights=False
        )


class LowRank(torch.autograd.Function):
    """A frozen linear layer with an adapter: ``x W' + bias + s (x A') B'``, in few operations.

    Nothing as large as the output is made beside it, forward or backward, and nothing is kept but
    the input and its rank-sized image.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        """Compute the output.

        Args:
            ctx: Autograd's.
            inputs: The input (..., in), the weight (out, in), the bias or ``None``, A (rank, in),
                B (out, rank) and the scale.
        """
        x, weight, bias, a, b, scale = inputs
        flat = x.reshape(-1, x.shape[-1])
        image = flat @ a.t()
        result = product(flat, weight, bias).addmm_(image, b.t(), alpha=scale)
        ctx.save_for_backward(flat, image, weight, a, b)
        ctx.scale = scale
        return result.reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients for the input, A and B; weight and bias are frozen."""
        refuse_second_derivatives()
        flat, image, weight, a, b = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])
        back = (gradient @ b).mul_(ctx.scale)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = (gradient @ weight).addmm_(back, a)
            for_x = for_x.reshape(*gradients[0].shape[:-1], -1)
        for_b = (gradient.t() @ image).mul_(ctx.scale)
        return for_x, None, None, back.t() @ flat, for_b, None


class Linear(torch.nn.Module):
    """A frozen linear layer that may be lent an adapter."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.adapter: tuple[torch.Tensor, torch.Tensor, float] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute as :class:`torch.nn.Linear` does, with the adapter if one is lent."""
        if self.adapter is None:
            return product(x, self.weight, self.bias)
        result: torch.Tensor = LowRank.apply(x, self.weight, self.bias, *self.adapter)  # type: ignore[no-untyped-call]
        return result


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``x W' + bias``.

    The libraries copy the weight into another order first. With few rows, as in sampling, that takes
    as long as the product itself; with the factors exchanged, it is the input that is copied. The
    result then lies in memory feature by feature. That of a layer which widens stays so: what comes
    next is an activation and a layer that narrows, for which it lies just right.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,) or ``None``.
    """
    rows = x.numel() // x.shape[-1]
    if rows not in _FEW_ROWS or x.device.type != "cpu":
        return torch.nn.functional.linear(x, weight, bias)
    result = (weight @ x.reshape(rows, -1).t()).t()
    if weight.shape[0] <= weight.shape[1]:
        result = result.contiguous()
    return (result if bias is None else result + bias).reshape(*x.shape[:-1], -1)
