"""One AdamW for each named weights, with a state of flat tensors that needs no pickle."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from algorithms.core.divergence import CURE
from algorithms.core.ranks import Ranks, current
from redteam_env.game import RedteamError

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Optimisers:
    """AdamW (0.9, 0.95) without weight decay for each named weights (Self-RedTeam's settings).

    In a run of several processes each accumulates the gradient of its share of the samples; a step
    sums them, so all take the same one.

    Args:
        parameters: The trainable tensors of each name.
        max_grad_norm: Gradients are scaled down to this norm.
    """

    def __init__(
        self, parameters: Mapping[str, Sequence[torch.nn.Parameter]], *, max_grad_norm: float
    ) -> None:
        self._parameters = {name: list(tensors) for name, tensors in parameters.items()}
        self._max_grad_norm = max_grad_norm
        self._adam = {
            name: torch.optim.AdamW(
                tensors, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True
            )
            for name, tensors in self._parameters.items()
        }

    def zero_grad(self, name: str) -> None:
        """Forget the gradients of named weights."""
        self._adam[name].zero_grad(set_to_none=True)

    def step(self, name: str, lr: float) -> float:
        """Apply the gradients of named weights, summed over all processes.

        Args:
            name: The weights.
            lr: Learning rate of this step.

        Returns:
            The gradient norm before clipping.

        Raises:
            RedteamError: If the norm is not finite; nothing is changed then.
        """
        if (ranks := current()).world > 1:
            self._add_gradients(self._parameters[name], ranks)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters[name], self._max_grad_norm))
        if not math.isfinite(norm):
            self.zero_grad(name)
            raise RedteamError(
                f"The gradient of {name!r} is {norm}; the step was not taken. To go on, {CURE}."
            )
        for group in self._adam[name].param_groups:
            group["lr"] = lr
        self._adam[name].step()
        self.zero_grad(name)
        return norm

    @staticmethod
    def _add_gradients(parameters: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
        held = ranks.gather([parameter.grad is not None for parameter in parameters])
        for parameter, somewhere in zip(parameters, map(any, zip(*held, strict=True)), strict=True):
            if somewhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.add([parameter.grad for parameter in parameters if parameter.grad is not None])

    def state(self) -> dict[str, torch.Tensor]:
        """Return the moments of all weights as flat tensors, named ``weights/index/moment``."""
        return {
            f"{name}/{k}/{moment}": adam.state[tensor][moment].detach().cpu().clone()
            for name, adam in self._adam.items()
            for k, tensor in enumerate(self._parameters[name])
            if adam.state[tensor]
            for moment in _MOMENTS
        }

    def load_state(self, tensors: Mapping[str, Any]) -> None:
        """Go back to moments that :meth:`state` returned.

        Raises:
            RedteamError: If a tensor is missing, unknown or of another shape: training never goes
                on with an empty optimiser.
        """
        left = dict(tensors)
        for name, adam in self._adam.items():
            for k, parameter in enumerate(self._parameters[name]):
                keys = {moment: f"{name}/{k}/{moment}" for moment in _MOMENTS}
                present = [key in left for key in keys.values()]
                if not any(present):
                    continue
                moments = {m: left.pop(key, None) for m, key in keys.items()}
                if not all(present) or moments["exp_avg"].shape != parameter.shape:
                    raise RedteamError(
                        f"The optimiser state of {name}/{k} is incomplete or of another shape; "
                        "resume with the options the run was started with."
                    )
                adam.state[parameter] = {
                    m: value.clone().to(parameter.device if m == "step" else parameter)
                    for m, value in moments.items()
                }
        if left:
            raise RedteamError(
                f"The optimiser state has tensors of unknown weights, such as {min(left)!r}; "
                "resume with the arrangement the run was started with."
            )
