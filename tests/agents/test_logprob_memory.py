"""One backward pass makes nothing as large as the logits, whatever its loss is made of."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.lora.logprobs import token_logprobs

ROWS, PLACES, WORDS = 4, 6, 50


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest new tensor has."""

    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self._known = known.untyped_storage().data_ptr()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() != self._known:
                    size = storage.nbytes() // tensor.element_size()
                    self.numbers = max(self.numbers, size)
        return found


@pytest.mark.parametrize("entropy", ["none", "value", "gradient"])
@pytest.mark.parametrize("distribution", [False, True])
def test_nothing_as_large_as_the_logits_is_made_unless_asked_for(
    monkeypatch, entropy, distribution
):
    monkeypatch.setattr("agents.lora.logprobs._PART", 3 * WORDS)
    logits = torch.randn(ROWS, PLACES, WORDS, requires_grad=True) * 1
    with Largest(logits) as seen:
        found = token_logprobs(
            logits,
            torch.zeros((ROWS, PLACES), dtype=torch.long),
            torch.ones((ROWS, PLACES), dtype=torch.bool),
            entropy=entropy,
            with_distribution=distribution,
            twice=False,
        )
        loss = found.logprobs.sum()
        if entropy == "gradient":
            loss = loss + found.entropy.sum()
        (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.shape == logits.shape
    assert seen.numbers == (logits.numel() if distribution else 3 * WORDS)
