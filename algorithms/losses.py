"""Losses as pure functions over padded tensors of shape (rows, longest completion)."""

import torch


def clipped_surrogate(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    clip: float,
) -> torch.Tensor:
    """Sum PPO's clipped surrogate loss over tokens (arXiv 1707.06347, equation 7).

    ``-min(ratio * A, clip(ratio, 1 - clip, 1 + clip) * A)`` with
    ``ratio = exp(logprobs - old_logprobs)``.

    Args:
        logprobs: Under the current policy, with gradients.
        old_logprobs: Under the policy that sampled.
        advantages: Of each token.
        mask: Completion tokens.
        clip: Width of the trust region.

    Returns:
        The sum over the mask, a scalar; divide by the number of tokens of the whole minibatch, so
        that micro-batches do not change the gradient.
    """
    ratio = (logprobs - old_logprobs).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    return -(surrogate * mask).sum()


def negative_log_likelihood(logprobs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum the negative log-likelihood of the tokens on the mask: the supervised loss."""
    return -(logprobs * mask).sum()
