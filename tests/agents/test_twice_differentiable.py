"""One backward pass is fast; whoever needs more says so, or is told how to."""

import copy
import dataclasses

import pytest
import torch
from played import disturb, generations

from agents.lora.config import PolicyConfig
from agents.lora.policy import LoraPolicy
from agents.models import load_base
from redteam_env.game import RedteamError

ONCE = r"differentiable='twice'"
ARRANGEMENTS = [("bipolicy", 1), ("bipolicy", 4), ("shared_full", 4)]  # lent, folded, whole
arranged = pytest.mark.parametrize(("arrangement", "rank"), ARRANGEMENTS)


def weights(policy):
    return list(policy.parameters(policy.weights_of("attacker")))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.fixture
def played(make_policy, requests):
    def make(arrangement="bipolicy", rank=4, **options):
        policy = make_policy(arrangement, rank=rank, **options)
        disturb(policy)
        return policy, generations(policy, requests, n=3)

    return make


@pytest.fixture
def double(tiny_model, requests):
    """Return a maker of policies in double precision, for derivatives by finite differences."""

    def make(arrangement, **options):
        base = load_base(str(tiny_model), device="cpu")
        model = copy.deepcopy(base.model)
        for name, layer in list(model.named_modules()):
            if name.endswith("norm"):  # transformers' own computes in float32
                exact = torch.nn.RMSNorm(layer.weight.shape, eps=layer.variance_epsilon)
                exact.weight = layer.weight
                model.set_submodule(name, exact)
        base = dataclasses.replace(base, model=model.double())
        config = PolicyConfig(
            model="tiny", arrangement=arrangement, rank=2, max_new_tokens=6, device="cpu", **options
        )
        policy = LoraPolicy(config, base, seed=0)
        disturb(policy, 0.1)
        rows = generations(policy, requests, n=3)
        # prompts long and alike: what they share is computed once
        long = tuple(range(100)) * 4
        return policy, [dataclasses.replace(row, prompt_ids=long) for row in rows[:2]]

    return make


@arranged
def test_case_c3_two_losses_of_one_pass_are_added_up(played, arrangement, rank):
    policy, rows = played(arrangement, rank)
    found = policy.logprobs("attacker", rows, with_entropy=True)
    together = found.logprobs.sum() + found.logprobs.square().sum() + found.entropy.sum()
    own = flat(torch.autograd.grad(together, weights(policy)))
    again = policy.logprobs("attacker", rows, with_entropy=True, differentiable="twice")
    losses = again.logprobs.sum(), again.logprobs.square().sum(), again.entropy.sum()
    parts = [torch.autograd.grad(x, weights(policy), retain_graph=True) for x in losses]
    torch.testing.assert_close(own, sum(map(flat, parts)), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("retain", [True, False])
@arranged
def test_case_c3_a_second_backward_pass_names_what_to_ask_for(played, arrangement, rank, retain):
    policy, rows = played(arrangement, rank)
    found = policy.logprobs("attacker", rows, with_entropy=True)
    torch.autograd.grad(found.logprobs.sum(), weights(policy), retain_graph=retain)
    for loss in (found.logprobs.sum(), found.logprobs.mean(), found.entropy.sum()):
        with pytest.raises(RedteamError, match=ONCE) as caught:
            loss.backward(retain_graph=True)
        assert "\n" not in str(caught.value)
    assert all(tensor.grad is None for tensor in weights(policy))


@pytest.mark.parametrize("options", [{}, {"with_distribution": True}])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@arranged
def test_gradients_of_gradients_are_never_wrong_in_silence(
    played, arrangement, rank, dropout, options
):
    policy, rows = played(arrangement, rank, dropout=dropout)
    for name in ("logprobs", "entropy"):
        found = policy.logprobs("attacker", rows, with_entropy=True, **options)
        loss = getattr(found, name).sum()
        with pytest.raises(RedteamError, match=ONCE):
            torch.autograd.grad(loss, weights(policy), create_graph=True)


def test_layers_of_twins_refuse_second_derivatives(played):
    policy, _ = played(rank=1)
    with policy.store.learning("attacker") as model:
        loss = model(input_ids=torch.arange(12)[None]).logits.square().mean()
    with pytest.raises(RedteamError, match=ONCE):
        torch.autograd.grad(loss, weights(policy), create_graph=True)


@arranged
def test_both_modes_compute_the_same(played, arrangement, rank):
    policy, rows = played(arrangement, rank)
    once, twice = (
        policy.logprobs("attacker", rows, with_entropy=True, differentiable=mode)
        for mode in ("once", "twice")
    )
    for name in ("logprobs", "entropy", "mask"):
        torch.testing.assert_close(getattr(once, name), getattr(twice, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}])
@pytest.mark.parametrize("arrangement", ["bipolicy", "shared_full"])
def test_hessian_vector_products_are_those_of_finite_differences(double, arrangement, options):
    policy, rows = double(arrangement, **options)
    tensors = weights(policy)
    draws = torch.Generator().manual_seed(1)
    direction = [torch.randn(t.shape, generator=draws, dtype=t.dtype) for t in tensors]

    def gradient(mode):
        found = policy.logprobs(
            "attacker", rows, with_entropy=True, with_distribution=True, differentiable=mode
        )
        kl = (found.distribution.exp() * found.distribution).sum()
        loss = (found.logprobs.square() - found.entropy).mean() + 0.1 * kl / found.mask.sum()
        return torch.autograd.grad(loss, tensors, create_graph=mode == "twice")

    products = zip(gradient("twice"), direction, strict=True)
    product = torch.autograd.grad(sum((g * v).sum() for g, v in products), tensors)

    def moved(step):
        with torch.no_grad():
            for tensor, v in zip(tensors, direction, strict=True):
                tensor.add_(step * v)
        return flat(gradient("once"))

    step = 1e-5
    ahead, behind = moved(step), moved(-2 * step)
    moved(step)
    expected = (ahead - behind) / (2 * step)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(flat(product), expected, atol=1e-5, rtol=1e-4)


@arranged
def test_the_plain_mode_leaves_nothing_behind(played, arrangement, rank):
    policy, rows = played(arrangement, rank, gradient_checkpointing=True)
    before = policy.logprobs("attacker", rows).logprobs
    policy.logprobs("attacker", rows, differentiable="twice")
    with policy.store.using(policy.weights_of("attacker")) as model:
        assert model.model.layers[0].gradient_checkpointing
    after = policy.logprobs("attacker", rows).logprobs
    assert torch.equal(before, after)


def test_an_unknown_mode_is_refused(played):
    policy, rows = played()
    with pytest.raises(RedteamError, match=r"'Twice'.*once.*twice"):
        policy.logprobs("attacker", rows, differentiable="Twice")
