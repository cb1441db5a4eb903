"""The distribution over all words, for exact divergences, baselines and distillation."""

import pytest
import torch
from played import disturb, generations

WAYS = [{}, {"differentiable": "twice"}]


@pytest.fixture
def played(make_policy, requests):
    def make(arrangement="bipolicy", **options):
        policy = make_policy(arrangement, temperature=0.7, **options)
        disturb(policy)
        return policy, generations(policy, requests)

    return make


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("arrangement", ["bipolicy", "shared_full"])
def test_it_holds_the_logprobs_and_the_entropy(played, arrangement, way):
    policy, rows = played(arrangement)
    rows[0] = policy.encode_example("attacker", [{"role": "user", "content": "hello"}], "hi")
    found = policy.logprobs("attacker", rows, with_distribution=True, with_entropy=True, **way)
    assert found.distribution.shape == (*found.mask.shape, 264)
    assert not found.mask.all()
    for k, row in enumerate(rows):
        n = len(row.completion_ids)
        own = found.distribution[k, :n].gather(-1, torch.tensor(row.completion_ids)[:, None])
        assert torch.equal(own[:, 0], found.logprobs[k, :n])
    places = found.distribution[found.mask]
    torch.testing.assert_close(places.exp().sum(-1), torch.ones(len(places)))
    entropy = -(places.exp() * places).sum(-1)
    torch.testing.assert_close(found.entropy[found.mask], entropy)
    assert not found.distribution[~found.mask].any()
    plain = policy.logprobs("attacker", rows, **way)
    assert plain.distribution is None
    torch.testing.assert_close(found.logprobs, plain.logprobs, atol=1e-5, rtol=0)


def exact_kl(one, other):
    return (one.distribution.exp() * (one.distribution - other.distribution)).sum(-1)[one.mask]


@pytest.mark.parametrize("way", WAYS)
def test_exact_divergences_are_sums_over_words(played, way):
    policy, rows = played()
    own = policy.logprobs("attacker", rows, with_distribution=True, **way)
    reference = policy.reference_logprobs("attacker", rows, with_distribution=True)
    assert not reference.distribution.requires_grad
    divergence = exact_kl(own, reference)
    places = [
        torch.distributions.Categorical(logits=x.distribution[x.mask].double())
        for x in (own, reference)
    ]
    expected = torch.distributions.kl_divergence(*places)
    torch.testing.assert_close(divergence.double(), expected, atol=1e-5, rtol=1e-4)
    assert divergence.min() > 0
    tensors = policy.parameters("attacker")
    found = torch.autograd.grad(divergence.sum(), tensors)
    assert any(tensor.any() for tensor in found)


def test_it_starts_as_that_of_the_reference(make_policy, requests):
    policy = make_policy()
    rows = generations(policy, requests)
    own = policy.logprobs("attacker", rows, with_distribution=True)
    reference = policy.reference_logprobs("attacker", rows, with_distribution=True)
    assert torch.equal(own.distribution, reference.distribution)
    assert policy.reference_logprobs("attacker", rows).distribution is None


def test_several_losses_can_be_made_of_it(played):
    policy, rows = played()
    tensors = policy.parameters("attacker")
    found = policy.logprobs("attacker", rows, with_distribution=True)
    losses = found.logprobs.sum(), found.distribution.square().mean()
    one, other = (torch.autograd.grad(x, tensors, retain_graph=True) for x in losses)
    again = policy.logprobs("attacker", rows, with_distribution=True)
    loss = again.logprobs.sum() + again.distribution.square().mean()
    both = torch.autograd.grad(loss, tensors)
    for a, b, c in zip(one, other, both, strict=True):
        torch.testing.assert_close(a + b, c, atol=1e-4, rtol=1e-4)
