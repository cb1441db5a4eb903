"""Losses in double precision: by hand, against the plain reference, against finite differences."""

import math

import pytest
import reinforce_reference as ref
import torch
from hypothesis import given
from hypothesis import strategies as st

from algorithms.core.losses import (
    clipped_surrogate,
    k3_penalty,
    negative_log_likelihood,
    preference_loss,
    score_function,
    squared_error,
)

CLIP = 0.2


def tensors(*rows):
    return [torch.tensor(row, dtype=torch.float64) for row in rows]


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 2.0, -2.2),
        (1.5, 2.0, -2.4),  # no more is gained beyond the trust region ...
        (1.5, -2.0, 3.0),  # ... but all is lost
        (0.5, 2.0, -1.0),
        (0.5, -2.0, 1.6),
    ],
)
def test_one_token_by_hand(ratio, advantage, expected):
    logprobs, old, advantages = tensors([[math.log(ratio)]], [[0.0]], [[advantage]])
    mask = torch.ones((1, 1), dtype=torch.bool)
    loss = clipped_surrogate(logprobs, old, advantages, mask, clip=CLIP)
    assert float(loss) == pytest.approx(expected)
    assert float(loss) == pytest.approx(ref.surrogate(math.log(ratio), 0.0, advantage, CLIP)[0])


tokens = st.tuples(st.floats(-3, 0), st.floats(-3, 0), st.floats(-4, 4))


@given(rows=st.lists(tokens, min_size=1, max_size=6))
def test_loss_and_gradient_equal_the_reference(rows):
    logprobs, old, advantages = tensors(*[[list(column)] for column in zip(*rows, strict=True)])
    logprobs.requires_grad_()
    mask = torch.ones_like(logprobs, dtype=torch.bool)
    loss = clipped_surrogate(logprobs, old, advantages, mask, clip=CLIP)
    loss.backward()
    expected = [ref.surrogate(*row, CLIP) for row in rows]
    assert loss.item() == pytest.approx(sum(value for value, _ in expected), abs=1e-9)
    assert logprobs.grad[0].tolist() == pytest.approx([slope for _, slope in expected], abs=1e-9)


def test_the_gradient_equals_finite_differences():
    draws = torch.Generator().manual_seed(0)
    logprobs = -torch.rand((4, 5), generator=draws, dtype=torch.float64)
    old = logprobs + 0.6 * torch.randn((4, 5), generator=draws, dtype=torch.float64)
    advantages = torch.randn((4, 5), generator=draws, dtype=torch.float64)
    mask = torch.rand((4, 5), generator=draws) < 0.8

    def loss(x):
        return clipped_surrogate(x, old, advantages, mask, clip=CLIP)

    assert torch.autograd.gradcheck(loss, (logprobs.requires_grad_(),), eps=1e-6, atol=1e-7)
    loss(logprobs).backward()
    assert not logprobs.grad[~mask].any()
    ratio = (logprobs - old).exp()
    beyond = ((ratio > 1 + CLIP) & (advantages > 0)) | ((ratio < 1 - CLIP) & (advantages < 0))
    assert (beyond & mask).any()
    assert not logprobs.grad[beyond].any()
    assert logprobs.grad[mask & ~beyond].all()


def test_tokens_off_the_mask_do_not_count_whatever_they_hold():
    logprobs, old, advantages = tensors([[-1.0, -7.0]], [[-1.0, 0.0]], [[1.0, 99.0]])
    mask = torch.tensor([[True, False]])
    assert float(clipped_surrogate(logprobs, old, advantages, mask, clip=CLIP)) == -1.0
    assert float(negative_log_likelihood(logprobs, mask)) == 1.0


def test_the_other_losses_of_one_token_by_hand():
    logprobs, reference, mask = tensors([[-1.0]], [[-1.5]], [[2.0]])
    assert float(score_function(logprobs, reference, mask)) == pytest.approx(-3.0)
    assert float(k3_penalty(logprobs, reference, mask)) == pytest.approx(2 * (math.exp(-0.5) - 0.5))
    assert float(squared_error(logprobs, reference, mask)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("margin", "sure", "dpo", "ipo"),
    [
        (0.0, 1.0, math.log(2), 25.0),
        (2.0, 1.0, math.log(1 + math.exp(-0.2)), 9.0),
        (2.0, 0.5, math.log(1 + math.exp(-0.2)) + 0.1, 4.0),
        (5.0, 1.0, math.log(1 + math.exp(-0.5)), 0.0),
    ],
)
def test_a_pair_by_hand(margin, sure, dpo, ipo):
    margins, preferences = tensors([margin], [sure])
    for kind, value in (("dpo", dpo), ("ipo", ipo)):
        assert float(preference_loss(margins, preferences, beta=0.1, kind=kind)) == pytest.approx(
            value
        )


def test_an_unlikely_preference_has_a_finite_loss():
    margins, preferences = tensors([-1e4], [1.0])
    assert float(preference_loss(margins, preferences, beta=1.0, kind="dpo")) == pytest.approx(1e4)


def test_the_gradients_of_the_other_losses_equal_finite_differences():
    draws = torch.Generator().manual_seed(1)
    x, a, b = (torch.randn((3, 4), generator=draws, dtype=torch.float64) for _ in range(3))
    weights = torch.rand((3, 4), generator=draws, dtype=torch.float64)
    x.requires_grad_()
    for loss in (score_function, k3_penalty, squared_error):
        assert torch.autograd.gradcheck(lambda y, loss=loss: loss(y, a, weights), (x,))
    sure = b.sigmoid()
    for kind in ("dpo", "ipo"):
        assert torch.autograd.gradcheck(
            lambda y, kind=kind: preference_loss(y, sure, beta=0.3, kind=kind), (x,)
        )


@given(gaps=st.lists(st.floats(-4, 4), min_size=1, max_size=6))
def test_the_k3_penalty_is_never_negative_beyond_rounding(gaps):
    logprobs, reference = tensors([gaps], [[0.0] * len(gaps)])
    assert float(k3_penalty(logprobs, reference, torch.ones_like(logprobs))) >= -1e-14


def test_the_score_function_is_minus_the_advantage_times_the_log_probability():
    logprobs = torch.tensor([[-2.0, -0.5], [-4.0, -1.0]])
    advantages = torch.tensor([[3.0, 3.0], [-1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert score_function(logprobs, advantages, mask).item() == pytest.approx(7.5 - 4.0)
