"""The real vLLM plays whole models, each the newest, in this process and as a server."""

import pytest
import torch
from vllm_shared import OPTIONS, engine_model, serving, share_engine

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from redteam_env.game import RedteamError

pytestmark = pytest.mark.vllm
CLOSE = 2e-5
ROLES = ("attacker", "defender")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Return a maker of policies, those in this process on one engine for each model."""
    share_engine(monkeypatch)
    policies = []

    def make(model, **options):
        directory = {"adapter_dir": str(tmp_path / "weights")}
        config = PolicyConfig(model=str(model), **{**OPTIONS, **directory, **options})
        policies.append(lora(config, seed=0))
        return policies[-1]

    yield make
    for policy in policies:
        policy.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Return a starter of servers that take whole models."""

    def start(model):
        log = tmp_path_factory.mktemp("server") / "log"
        return serving(model, log, VLLM_SERVER_DEV_MODE="1")

    return start


def update(policy, seed):
    """Change all weights, each in its own way, and publish them."""
    for name in policy.names:
        draws = torch.Generator().manual_seed(seed + ord(name[0]))
        with torch.no_grad():
            for tensor in policy.parameters(name):
                tensor.add_(0.02 * torch.randn(tensor.shape, generator=draws))
        policy.publish(name)


def played(policy, role, requests):
    """Return the versions that a role's completions name, and how far they are from its weights."""
    found = [reply.generation for reply in policy.agent(role).act(requests(5, role=role))]
    own = policy.logprobs(role, found)
    theirs = torch.tensor([x for g in found for x in g.logprobs])
    gap = float((own.logprobs[own.mask].detach() - theirs).abs().max())
    return {(g.adapter, g.version) for g in found}, gap


def check(policy, requests):
    for version in range(3):
        for role in (*ROLES, *ROLES):
            names, gap = played(policy, role, requests)
            assert names == {(policy.weights_of(role), version)}
            assert gap < CLOSE
        update(policy, version)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("arrangement", ["shared_full", "independent"])
def test_an_engine_plays_each_roles_newest_weights(made, requests, arrangement, tied):
    check(made(engine_model(tied=tied), arrangement=arrangement), requests)


def test_without_forgetting_keys_and_values_old_ones_are_played_and_noticed(made, monkeypatch):
    policy = made(engine_model(), arrangement="shared_full")
    (engine,) = policy.backend._engines
    monkeypatch.setattr(engine._llm, "reset_prefix_cache", lambda: None)
    with pytest.raises(RedteamError, match="plays other weights than version 1 of 'shared'"):
        update(policy, 0)


def test_a_server_plays_each_roles_newest_weights(made, serve, requests):
    model = engine_model(tied=False)
    with serve(model) as url:
        for arrangement in (
            "independent",
            "shared_full",
        ):  # the second starts on the first's weights
            policy = made(model, arrangement=arrangement, backend="served", server_urls=url)
            check(policy, requests)


def test_on_a_cpu_a_server_with_a_tied_head_is_found_out_at_the_first_update(made, serve):
    with serve(engine_model()) as url:
        policy = made(engine_model(), arrangement="shared_full", backend="served", server_urls=url)
        with pytest.raises(RedteamError, match="plays other weights than version 1 of 'shared'"):
            update(policy, 0)
