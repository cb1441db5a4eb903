"""Normalisation and gated layers of frozen models, in fewer operations and with less kept for gradients.

transformers builds both from small differentiable steps. Their weights are frozen here, so the gradient
for the input is all that is asked for, and it has a short form.
"""

from typing import Any

import torch

from agents.lora.logprobs import refuse_second_derivatives

_NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
_GATED = ("LlamaMLP", "Qwen2MLP", "Qwen3MLP")
_SILU = ("SiLU", "SiLUActivation")


def lean(module: Any) -> Any:
    """Return a layer that computes the same, up to rounding, or ``None`` if there is none for it.

    Args:
        module: A module of a model whose weights stay as they are.
    """
    kind = type(module).__name__
    if kind in _NORMS and module.weight.dtype == torch.float32:
        return RMSNorm(module)
    if kind in _GATED and type(module.act_fn).__name__ in _SILU:
        return GatedMLP(module)
    return None


class RMSNorm(torch.nn.Module):
    """Root-mean-square normalisation (arXiv 1910.07467, equation 4) with a frozen weight."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight = layer.weight
        self.variance_epsilon = layer.variance_epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        result: torch.Tensor = _Normalised.apply(x, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]
        return result


class GatedMLP(torch.nn.Module):
    """``down(silu(gate(x)) * up(x))`` (SwiGLU, arXiv 2002.05202, equation 6)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            layer.gate_proj,
            layer.up_proj,
            layer.down_proj,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer."""
        hidden = _Gated.apply(self.gate_proj(x), self.up_proj(x))  # type: ignore[no-untyped-call]
        result: torch.Tensor = self.down_proj(hidden)
        return result


class _Normalised(torch.autograd.Function):
    """``x / rms(x) * weight``; the input and one number a row are kept."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        x, weight, epsilon = inputs
        norm: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        result: torch.Tensor = (x * inverse).mul_(weight)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None]:
        refuse_second_derivatives()
        x, weight, inverse = ctx.saved_tensors
        gradient = gradients[0] * weight
        along = torch.linalg.vecdot(gradient, x).unsqueeze(-1)
        along = along.mul_(inverse**3).div_(-x.shape[-1])
        return gradient.mul_(inverse).addcmul_(x, along), None, None


class _Gated(torch.autograd.Function):
    """``silu(gate) * up``; ``silu(gate)`` is computed again rather than kept."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        gate, up = inputs
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, torch.Tensor]:
        refuse_second_derivatives()
        gate, up = ctx.saved_tensors
        for_up = torch.nn.functional.silu(gate).mul_(gradients[0])
        for_gate: torch.Tensor = torch.ops.aten.silu_backward(gradients[0] * up, gate)
        return for_gate, for_up
