"""From logits to log-probabilities: one formula for the sampler and for the trainer.

``x[token] - (max(x) + log(sum(exp(x - max(x)))))``. ``torch.log_softmax`` adds in another order: over
151,936 words in float32 on the CPU its results are off by 1e-5 and more, so a sampler that used it
would start with a KL of that size to itself.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from redteam_env.game import RedteamError

Entropy = Literal["none", "value", "gradient"]
"""What is wanted of the entropy: nothing (zeros), its value, or its value and gradients."""

NO_ENTROPY = (
    "The entropy has no gradients; ask for logprobs(..., with_entropy=True), in an algorithm by "
    "forward = {'with_entropy': True}."
)
ONCE = (
    "These log-probabilities can be differentiated once, in one backward pass; add the losses up "
    "before it, or ask for logprobs(..., differentiable='twice'), in an algorithm by "
    "forward = {'differentiable': 'twice'}."
)
_PART = 2**21
"""Most logits that are worked on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprobs:
    """Log-probabilities of completion tokens.

    Attributes:
        logprobs: Float tensor (rows, longest completion), nats; 0 where ``mask`` is false.
        entropy: Entropy of the full distribution at each place, nats, same shape. Unless gradients
            were asked for, a backward pass through it raises.
        mask: True on completion tokens.
        distribution: Log-probabilities of all words at each place, (rows, longest completion,
            words); 0 where ``mask`` is false. ``None`` unless it was asked for.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor
    mask: torch.Tensor
    distribution: torch.Tensor | None = None


def weigh(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what a softmax over the last dimension consists of.

    Returns:
        ``exp(x - max)``, its sum, and the logarithm of the sum of ``exp(x)``; the last two keep the
        dimension.
    """
    highest = logits.amax(-1, keepdim=True)
    weights = (logits - highest).exp_()
    total = weights.sum(-1, keepdim=True)
    return weights, total, highest + total.log()


def token_logprobs(
    logits: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor,
    *,
    entropy: Entropy,
    with_distribution: bool,
    twice: bool,
) -> TokenLogprobs:
    """Compute log-probabilities of given tokens.

    Args:
        logits: (rows, columns, words). A backward pass overwrites them, unless the distribution or
            two derivatives are asked for.
        targets: The tokens' ids, (rows, columns).
        mask: Which are tokens, same shape.
        entropy: What is wanted of the entropy.
        with_distribution: Whether to return all words' log-probabilities.
        twice: Whether second derivatives and several backward passes are wanted. Otherwise they
            raise.
    """
    distribution = None
    if with_distribution or twice:
        if logits.requires_grad and not twice:
            logits.register_hook(refuse_second_derivatives)  # type: ignore[no-untyped-call]
        distribution = logits - logits.logsumexp(-1, keepdim=True)
        distribution.masked_fill_(~mask[..., None], 0.0)
        picked = distribution.gather(-1, targets[..., None]).squeeze(-1)
        spread = _entropy(distribution, entropy)
    else:
        wanted = entropy != "none"
        picked, spread = Picked.apply(logits, targets, mask, wanted)  # type: ignore[no-untyped-call]
    if entropy != "gradient":
        spread = _Unasked.apply(spread.detach(), picked)  # type: ignore[no-untyped-call]
    return TokenLogprobs(
        logprobs=picked,
        entropy=spread,
        mask=mask,
        distribution=distribution if with_distribution else None,
    )


def _entropy(distribution: torch.Tensor, entropy: Entropy) -> torch.Tensor:
    if entropy == "none":
        return distribution.new_zeros(distribution.shape[:-1])
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "gradient"):
        return -(distribution.exp() * distribution).sum(-1)


def refuse_second_derivatives(_: object = None) -> None:
    """Raise in a backward pass that is itself to be differentiated, one with ``create_graph=True``.

    Called by every backward pass, or hook of one, whose operations have no second derivatives.
    """
    if torch.is_grad_enabled():
        raise RedteamError(ONCE)


class _Unasked(torch.autograd.Function):
    """An entropy for the record: whoever puts it into a loss learns how to get its gradients."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:  # noqa: ARG004 - autograd's signature
        entropy, _ = inputs  # the log-probabilities connect it to the weights
        copied: torch.Tensor = entropy.clone()
        return copied

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004 - autograd's signature
        raise RedteamError(NO_ENTROPY)


class Picked(torch.autograd.Function):
    """Log-probabilities of given tokens and the entropy, a part of the rows at a time.

    ``log_softmax`` would hold several tensors as large as the logits, which at 50,000 words are
    larger than all else. Here nothing of that size is made: the logits' gradient takes their own
    place, so one backward pass is all that a result is good for, and a second one raises.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute both.

        Args:
            ctx: Autograd's.
            inputs: Logits (rows, columns, words), ids (rows, columns), the mask outside of which both
                results are 0, and whether the entropy is wanted (else it is 0).
        """
        logits, targets, mask, with_entropy = inputs
        flat, ids = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1, 1)
        scale = flat.new_empty((len(flat), 1))
        entropy = flat.new_zeros(len(flat))
        for part in _parts(flat):
            own = flat[part]
            weights, total, scale[part] = weigh(own)
            if with_entropy:
                mean = weights.mul_(own).sum(-1) / total[:, 0]
                entropy[part] = scale[part][:, 0] - mean
        picked = (flat.gather(-1, ids) - scale).reshape(targets.shape)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, targets, mask, scale, entropy)
        ctx.spent = False
        return picked.masked_fill_(~mask, 0.0), entropy.reshape(targets.shape).masked_fill(
            ~mask, 0.0
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient for the logits: ``(1[token] - p) g - p (log p + entropy) h``."""
        refuse_second_derivatives()
        if ctx.spent:
            raise RedteamError(ONCE)
        ctx.spent = True
        logits, targets, mask, scale, entropy = ctx.saved_tensors
        flat = logits.reshape(-1, logits.shape[-1])
        for_picked, for_entropy = (
            None if g is None else g.masked_fill(~mask, 0.0).reshape(-1, 1) for g in gradients
        )
        if for_picked is None:
            for_picked = torch.zeros_like(scale)
        for part in _parts(flat):
            own = flat[part].sub_(scale[part])
            if for_entropy is None:
                own.exp_().mul_(-for_picked[part])
            else:
                weights = own.exp()
                own.add_(entropy[part, None]).mul_(for_entropy[part]).add_(for_picked[part])
                own.mul_(weights).neg_()
        flat.scatter_add_(-1, targets.reshape(-1, 1), for_picked)
        return flat.reshape(logits.shape), None, None, None


def _parts(flat: torch.Tensor) -> list[slice]:
    size = max(1, _PART // flat.shape[-1])
    return [slice(start, start + size) for start in range(0, len(flat), size)]
