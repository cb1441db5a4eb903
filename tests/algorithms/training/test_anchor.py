"""The KL reference of adapters: the base, a frozen copy of their warm start, or another adapter."""

import shutil

import pytest
import torch
from training_fakes import PowerCutError, contents, metrics

from agents.lora.policy import lora
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.game import RedteamError

ROLES = ("attacker", "defender")
ROUNDING = 2e-6
"""Nats a token by which sampling and a pass over whole rows differ."""


@pytest.fixture
def config(tiny_options, tmp_path):
    def make(**more):
        options = {**tiny_options, "steps": 1, "out": str(tmp_path / "run"), **more}
        return TrainConfig.from_flat(options)

    return make


@pytest.fixture
def warm(finished):
    """A run whose weights have moved far from the base; not to be changed."""
    return finished(lr=3e-2)


@pytest.fixture
def adapter(warm):
    return warm / "checkpoints/step-000002/policy/attacker"


def sampled(policy, role, requests=6):
    game = [{"role": "system", "content": "rules"}, {"role": "user", "content": "hello"}]
    prompts = [policy.codec.encode(game)] * requests
    return policy.backend.generate(
        policy.weights_of(role),
        prompts,
        [(0, k) for k in range(requests)],
        max_new_tokens=6,
        temperature=1.0,
    )


def divergence(policy, role):
    """Return the mean and the largest difference between a role's log-probabilities and its reference's."""
    generations = sampled(policy, role)
    with torch.no_grad():
        own = policy.logprobs(role, generations).logprobs
    gaps = (own - policy.reference_logprobs(role, generations).logprobs).abs()
    return float(gaps.mean()), float(gaps.max())


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared", "attacker_only"])
def test_at_its_start_a_warm_started_policy_is_its_own_anchor(config, warm, adapter, arrangement):
    place = warm if arrangement == "bipolicy" else adapter
    policy = lora(config(arrangement=arrangement).policy, seed=5)
    policy.start_from(place)
    for role in policy.trainable_roles:
        assert divergence(policy, role)[0] > 1e-2, "without an anchor the base is the reference"
    policy.anchor_at(None)
    for role in policy.trainable_roles:
        assert divergence(policy, role) == (0.0, 0.0)
    for name in policy.names:
        with torch.no_grad():
            for tensor in policy.parameters(name):
                tensor.add_(0.05)
    for role in policy.trainable_roles:
        assert divergence(policy, role)[0] > 1e-3, "the anchor stays where it was"


def test_a_runs_kl_starts_at_0_with_the_anchor_and_not_without(config, warm, tmp_path):
    for anchor, name in (("start", "anchored"), (None, "free")):
        out = str(tmp_path / name)
        train(config(init_from=str(warm), anchor=anchor, steps=2, out=out))
    for role in ROLES:
        first, second = (row[f"{role}/kl"] for row in metrics(tmp_path / "anchored"))
        assert abs(first) < ROUNDING < abs(second)
        assert abs(metrics(tmp_path / "free")[0][f"{role}/kl"]) > 1e-3


def test_another_adapter_is_the_anchor_of_fresh_ones_whatever_its_rank(config, adapter):
    train(config(anchor=str(adapter), rank=8))
    policy = lora(config(rank=8).policy, seed=0)
    policy.anchor_at(adapter)
    other = lora(config().policy, seed=1)
    other.start_from(adapter)
    generations = sampled(policy, "attacker")
    with torch.no_grad():
        wanted = other.logprobs("attacker", generations).logprobs
    found = policy.reference_logprobs("attacker", generations).logprobs
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_an_anchored_run_that_was_cut_ends_as_one_that_was_not(
    config, warm, tmp_path, crash_at, doubles
):
    start = shutil.copytree(warm, tmp_path / "start")
    options = {"init_from": str(start), "anchor": "start", "steps": 4, "checkpoint_every": 2}
    options |= {"judge": "fragile", "lr": 1e-2, "kl": 0.5}
    crash_at(None)
    train(config(**options, out=str(tmp_path / "whole")))
    crash_at(4)
    with pytest.raises(PowerCutError):
        train(config(**options, out=str(tmp_path / "cut")))
    crash_at(None)
    shutil.rmtree(start / "checkpoints")  # the checkpoint holds the anchor
    assert train(config(**options, out=str(tmp_path / "cut"), resume=True)).finished
    parts = ("checkpoints", "episodes")
    assert contents(tmp_path / "cut", *parts) == contents(tmp_path / "whole", *parts)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_an_altered_anchor_is_refused(config, warm, tmp_path):
    options = {"init_from": str(warm), "anchor": "start"}
    train(config(**options))
    file = tmp_path / "run/checkpoints/step-000001/policy/anchor-attacker/adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(RedteamError, match=r"anchor-attacker.*altered"):
        train(config(**options, steps=2, resume=True))
    with pytest.raises(RedteamError, match=r"other options.*anchor"):
        train(config(init_from=str(warm), steps=2, resume=True))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"anchor": "start"}, "fresh adapters start as the base"),
        ({"anchor": "nowhere"}, "anchor is 'nowhere', which is no directory"),
        ({"anchor": "ADAPTER", "arrangement": "shared_full"}, "name that as --model"),
    ],
)
def test_an_anchor_that_cannot_be_is_refused_at_once(config, adapter, tmp_path, options, named):
    options = {k: str(adapter) if x == "ADAPTER" else x for k, x in options.items()}
    with pytest.raises(RedteamError, match=named):
        train(config(**options))
    assert not (tmp_path / "run" / "config.json").exists()


def test_an_anchor_of_another_base_is_refused(config, adapter, tmp_path):
    copy = shutil.copytree(adapter, tmp_path / "copy")
    card = copy / "redteam.json"
    card.write_text(card.read_text().replace('"base_fingerprint": "', '"base_fingerprint": "0'))
    with pytest.raises(RedteamError, match="another base"):
        train(config(anchor=str(copy)))
