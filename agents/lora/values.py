"""Value heads: what a role can expect to be paid, read off the policy's last hidden states.

A head is linear and starts at 0. Its output is divided by the width of the model, so that one
optimiser step moves it equally far in a small model and in a large one. Its gradient does not reach
the model: heads cost one pass without gradients, and the weights serve the policy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from redteam_env.game import Generation, RedteamError

FILE = "value_heads.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenValues:
    """Values before completion tokens.

    Attributes:
        values: Float tensor (rows, longest completion), reward; 0 where ``mask`` is false.
        mask: True on completion tokens.
    """

    values: torch.Tensor
    mask: torch.Tensor


class ValueHeads:
    """One linear head a role, made when it is first asked for.

    Args:
        base: The language model that the heads are for.
    """

    def __init__(self, base: Any) -> None:
        self._base = base
        self._heads: dict[str, torch.nn.Linear] = {}

    def head(self, role: str) -> torch.nn.Linear:
        """Return a role's head."""
        if role not in self._heads:
            width = self._base.config.get_text_config().hidden_size
            with torch.random.fork_rng(devices=[]):
                head = torch.nn.Linear(width, 1)
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)
            self._heads[role] = head.to(self._base.device)
        return self._heads[role]

    def values(
        self, role: str, model: Any, generations: Sequence[Generation], *, pad_id: int
    ) -> TokenValues:
        """Compute values with gradients to the role's head.

        Args:
            role: Whose head.
            model: A causal language model with the role's weights.
            generations: Rows with non-empty prompts and completions.
            pad_id: Id under the mask.
        """
        states, mask = states_before(model, generations, pad_id=pad_id)
        head = self.head(role)
        found = (states @ head.weight[0]) / head.in_features + head.bias
        return TokenValues(values=torch.where(mask, found, torch.zeros_like(found)), mask=mask)

    def save(self, directory: Path) -> None:
        """Write all heads into a folder; no file if there is none."""
        tensors = {
            f"{role}/{name}": tensor.detach().cpu().contiguous()
            for role, head in self._heads.items()
            for name, tensor in head.named_parameters()
        }
        if tensors:
            save_file(tensors, directory / FILE)

    def restore(self, directory: Path) -> None:
        """Read heads back that :meth:`save` wrote; without a file all heads stay as they are.

        Raises:
            RedteamError: If the file cannot be read or a head is of another width.
        """
        file = directory / FILE
        if not file.exists():
            return
        try:
            tensors = load_file(file)
        except Exception as error:  # safetensors raises its own class, which it does not export
            raise RedteamError(f"{str(file)!r} cannot be read as safetensors: {error}") from error
        for role in sorted({name.partition("/")[0] for name in tensors}):
            for name, parameter in self.head(role).named_parameters():
                tensor = tensors.get(f"{role}/{name}")
                if tensor is None or tensor.shape != parameter.shape:
                    raise RedteamError(
                        f"{str(file)!r} holds no {role}/{name} of the shape "
                        f"{tuple(parameter.shape)}; it belongs to another model."
                    )
                parameter.data.copy_(tensor)


@torch.no_grad()
def states_before(
    model: Any, generations: Sequence[Generation], *, pad_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the last hidden state before each completion token.

    Args:
        model: A causal language model.
        generations: Rows with non-empty prompts and completions.
        pad_id: Id under the mask.

    Returns:
        float32 states (rows, longest completion, width), and the mask of completion tokens.
    """
    left = max(len(g.prompt_ids) for g in generations)
    right = max(len(g.completion_ids) for g in generations)
    ids = torch.full((len(generations), left + right), pad_id, dtype=torch.long)
    seen = torch.zeros_like(ids)
    for k, g in enumerate(generations):
        start, end = left - len(g.prompt_ids), left + len(g.completion_ids)
        ids[k, start:end] = torch.tensor((*g.prompt_ids, *g.completion_ids))
        seen[k, start:end] = 1
    ids, seen = ids.to(model.device), seen.to(model.device)
    states = model.base_model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=(seen.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
    ).last_hidden_state
    return states[:, left - 1 : -1].float(), seen[:, left:].bool()
