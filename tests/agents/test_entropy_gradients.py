"""An entropy in a loss: it changes the gradient if its gradients were asked for, and raises if not."""

import pytest
import torch
from played import disturb, generations

from agents.lora.logprobs import Picked, token_logprobs
from redteam_env.game import RedteamError

NO_ENTROPY = r"logprobs\(\.\.\., with_entropy=True\)"
ARRANGEMENTS = ("bipolicy", "shared_full")


def gradients(policy, loss):
    found = torch.autograd.grad(loss, policy.parameters(policy.weights_of("attacker")))
    return torch.cat([tensor.flatten() for tensor in found])


def by_hand(policy, rows, *, bonus):
    """The gradient from whole passes in double precision, row by row, with torch's log_softmax."""
    name = policy.weights_of("attacker")
    with policy.store.using(name) as model:
        total = 0.0
        for row in rows:
            ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
            logits = model(input_ids=ids).logits[0, len(row.prompt_ids) - 1 : -1].double()
            scores = (logits / row.temperature).log_softmax(-1)
            total += scores.gather(-1, torch.tensor(row.completion_ids)[:, None]).sum()
            total -= bonus * (scores.exp() * scores).sum()
    return gradients(policy, total)


@pytest.mark.parametrize("options", [{}, {"differentiable": "twice"}, {"with_distribution": True}])
@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_case_c2_an_entropy_bonus_adds_its_own_gradient(
    make_policy, requests, arrangement, rank, options
):
    policy = make_policy(arrangement, rank=rank, temperature=0.7)
    disturb(policy)
    rows = generations(policy, requests)
    found = policy.logprobs("attacker", rows, with_entropy=True, **options)
    own = gradients(policy, found.logprobs.sum() + 3.0 * found.entropy[found.mask].sum())
    expected = by_hand(policy, rows, bonus=3.0)
    torch.testing.assert_close(own, expected, atol=1e-3, rtol=1e-3)
    assert (own - by_hand(policy, rows, bonus=0.0)).abs().max() > 100 * (own - expected).abs().max()


def test_the_entropy_alone_can_be_a_loss(make_policy, requests):
    policy = make_policy()
    rows = generations(policy, requests, n=3)
    own, plain = (
        gradients(policy, policy.logprobs("attacker", rows, with_entropy=True, **way).entropy.sum())
        for way in ({}, {"differentiable": "twice"})
    )
    torch.testing.assert_close(own, plain, atol=1e-4, rtol=1e-4)
    assert own.any()


@pytest.mark.parametrize("options", [{}, {"differentiable": "twice"}, {"with_distribution": True}])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_case_c2_an_entropy_that_was_not_asked_for_is_a_number_and_no_loss(
    make_policy, requests, options, dropout
):
    policy = make_policy(dropout=dropout)
    rows = generations(policy, requests, n=3)
    found = policy.logprobs("attacker", rows, **options)
    assert found.entropy[found.mask].min() > 0
    loss = found.logprobs.sum() - 100 * found.entropy.sum()
    with pytest.raises(RedteamError, match=NO_ENTROPY) as caught:
        gradients(policy, loss)
    assert "\n" not in str(caught.value)
    with pytest.raises(RedteamError, match=NO_ENTROPY):
        policy.logprobs("attacker", rows, **options).entropy.sum().backward()
    gradients(policy, policy.logprobs("attacker", rows, **options).logprobs.sum())


def test_without_gradients_the_entropy_is_a_plain_tensor(make_policy, requests):
    policy = make_policy()
    rows = generations(policy, requests, n=3)
    with torch.no_grad():
        found = policy.logprobs("attacker", rows)
    assert not found.entropy.requires_grad
    torch.testing.assert_close(found.entropy, policy.logprobs("attacker", rows).entropy)


@pytest.mark.parametrize("losses", ["logprobs", "entropy", "both"])
def test_gradients_are_those_of_log_softmax_part_by_part(monkeypatch, losses):
    monkeypatch.setattr("agents.lora.logprobs._PART", 20)
    draws = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn((3, 4, 7), generator=draws, dtype=torch.float64)).requires_grad_()
    ids = torch.randint(0, 7, (3, 4), generator=draws)
    mask = torch.rand((3, 4), generator=draws) < 0.7
    weights = torch.randn((2, 3, 4), generator=draws, dtype=torch.float64)
    weights *= torch.tensor([losses != "entropy", losses != "logprobs"])[:, None, None]
    scores = logits.log_softmax(-1)
    picked = scores.gather(-1, ids[..., None])[..., 0]
    expected = [torch.where(mask, x, 0.0) for x in (picked, -(scores.exp() * scores).sum(-1))]
    (gradient,) = torch.autograd.grad((weights * torch.stack(expected)).sum(), logits)
    found = Picked.apply(logits * 1, ids, mask, True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    loss = sum((w * x).sum() for w, x in zip(weights, found, strict=True) if w.any())
    (own,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(own, gradient)


def test_an_entropy_nobody_wants_is_not_computed():
    logits = torch.randn(2, 3, 5)
    found = token_logprobs(
        logits,
        torch.zeros((2, 3), dtype=torch.long),
        torch.ones((2, 3), dtype=torch.bool),
        entropy="none",
        with_distribution=False,
        twice=False,
    )
    assert not found.entropy.any()
