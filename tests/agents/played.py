"""Policies off their start, and what they said: for tests of log-probabilities."""

import torch


def disturb(policy, size: float = 0.3) -> None:
    """Move all trained weights off their start, as training would."""
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name in policy.names:
            for tensor in policy.parameters(name):
                noise = torch.randn(tensor.shape, generator=draws)
                tensor.add_(size * tensor.std().clamp(min=0.05) * noise)


def generations(policy, requests, role: str = "attacker", n: int = 6):
    """Return what a role says to prompts of different lengths."""
    return [reply.generation for reply in policy.agent(role).act(requests(n, role))]
