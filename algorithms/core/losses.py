"""Losses as pure functions over padded tensors of shape (rows, longest completion).

Where a function takes ``mask``, it sums over the tokens on it. A mask of numbers weights the tokens:
importance weights, or one over the length of a token's row.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Preference = Literal["dpo", "ipo"]


def clipped_surrogate(
    logprobs: "torch.Tensor",
    old_logprobs: "torch.Tensor",
    advantages: "torch.Tensor",
    mask: "torch.Tensor",
    *,
    clip: float,
) -> "torch.Tensor":
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
    surrogate = (ratio * advantages).minimum(clipped * advantages)
    return -(surrogate * mask).sum()


def score_function(
    logprobs: "torch.Tensor", advantages: "torch.Tensor", mask: "torch.Tensor"
) -> "torch.Tensor":
    """Sum ``-A * log pi`` over tokens: its gradient is REINFORCE's (Williams 1992, equation 5).

    Args:
        logprobs: Under the current policy, with gradients.
        advantages: Of each token.
        mask: Completion tokens.
    """
    return -(advantages * logprobs * mask).sum()


def k3_penalty(
    logprobs: "torch.Tensor", reference: "torch.Tensor", mask: "torch.Tensor"
) -> "torch.Tensor":
    """Sum the estimator of KL(pi || ref) that is never negative (GRPO, arXiv 2402.03300, eq. 4).

    ``ref / pi - log(ref / pi) - 1`` at the sampled token.

    Args:
        logprobs: Under the current policy, with gradients.
        reference: Under the frozen reference.
        mask: Completion tokens.
    """
    gap = reference - logprobs
    return ((gap.expm1() - gap) * mask).sum()


def squared_error(
    values: "torch.Tensor", targets: "torch.Tensor", mask: "torch.Tensor"
) -> "torch.Tensor":
    """Sum ``(V - target)^2 / 2`` over tokens: the loss of a value head (arXiv 1707.06347, sec. 5).

    Args:
        values: Predictions, with gradients.
        targets: Returns.
        mask: Completion tokens.
    """
    return 0.5 * ((values - targets) ** 2 * mask).sum()


def preference_loss(
    margins: "torch.Tensor", preferences: "torch.Tensor", *, beta: float, kind: Preference
) -> "torch.Tensor":
    """Sum DPO's or IPO's loss over pairs.

    With the margin ``h = log pi(a)/ref(a) - log pi(b)/ref(b)`` and ``q`` = P(a is better than b):
    DPO (arXiv 2305.18290, equation 7) ``-q log s(beta h) - (1 - q) log s(-beta h)``, ``s`` the
    logistic function; IPO (arXiv 2310.12036, equation 17) ``(h - (q - 1/2) / beta)^2``. A certain
    preference, ``q = 1``, gives the equations as they are printed.

    Args:
        margins: ``h`` of each pair, nats, with gradients; shape (pairs,).
        preferences: ``q`` of each pair.
        beta: Strength of the pull to the reference.
        kind: ``dpo`` or ``ipo``.

    Returns:
        The sum over pairs, a scalar.
    """
    from torch.nn.functional import logsigmoid

    if kind == "ipo":
        return ((margins - (preferences - 0.5) / beta) ** 2).sum()
    won, lost = logsigmoid(beta * margins), logsigmoid(-beta * margins)
    return -(preferences * won + (1 - preferences) * lost).sum()


def negative_log_likelihood(logprobs: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Sum the negative log-likelihood of the tokens on the mask: the supervised loss."""
    return -(logprobs * mask).sum()
