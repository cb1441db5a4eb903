"""Past versions play as they did when they were current, and cost one place in memory."""

import pytest
import torch
from tiny_models import save_tiny

from agents.lora.config import PolicyConfig
from agents.lora.past import SPARE
from agents.lora.policy import lora
from redteam_env.protocols import LeaguePolicy, TurnRequest


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", scale=0.3)


def requests(role):
    messages = [{"role": "system", "content": "Play."}, {"role": "user", "content": "Hi."}]
    return [
        TurnRequest(seat=f"{role}_0", role=role, messages=messages, path=(k, "game"))
        for k in range(4)
    ]


def move(policy, weights, seed):
    rng = torch.Generator().manual_seed(seed)
    for tensor in policy.parameters(weights):
        with torch.no_grad():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=rng))
    policy.publish(weights)


def make(tiny, arrangement):
    config = PolicyConfig(
        arrangement=arrangement, model=str(tiny), rank=4, max_new_tokens=6, device="cpu"
    )
    return lora(config, seed=0)


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared", "independent", "shared_full"])
def test_a_past_version_plays_as_it_did(tiny, tmp_path, arrangement):
    policy = make(tiny, arrangement)
    assert isinstance(policy, LeaguePolicy)
    name = policy.weights_of("attacker")
    played, places = [], []
    for k in range(3):
        move(policy, name, k)
        places.append(tmp_path / str(k))
        policy.write_weights(name, places[-1])
        played.append(policy.agent("attacker").act(requests("attacker")))
    now = [x.detach().clone() for x in policy.parameters(name)]
    for k in (1, 0, 2, 1):
        agent = policy.past_agent("attacker", places[k], weights=name, version=k + 1)
        assert agent.act(requests("attacker")) == played[k]
    assert played[0] != played[1]
    assert all(map(torch.equal, policy.parameters(name), now))
    assert policy.agent("attacker").act(requests("attacker")) == played[2]


def test_any_number_of_past_versions_takes_one_place_in_memory(tiny, tmp_path):
    policy = make(tiny, "bipolicy")

    def numbers():
        return sum(x.numel() for x in policy.store.base.model.parameters())

    before = numbers()
    adapter = sum(x.numel() for x in policy.parameters("attacker"))
    agents = []
    for k in range(20):
        for role in ("attacker", "defender"):
            move(policy, role, k)
            place = tmp_path / f"{role}@{k}"
            policy.write_weights(role, place)
            agents.append(policy.past_agent(role, place, weights=role, version=k))
            agents[-1].act(requests(role)[:1])
    assert len(agents) == 40
    assert numbers() == before + adapter
    assert policy.names == ("attacker", "defender")
    assert SPARE not in policy.describe()["trainable_parameters"]


def test_gradients_of_trained_weights_survive_a_past_version(tiny, tmp_path):
    policy = make(tiny, "bipolicy")
    move(policy, "attacker", 0)
    policy.write_weights("attacker", tmp_path / "v")
    replies = policy.agent("attacker").act(requests("attacker"))
    found = policy.logprobs("attacker", [x.generation for x in replies])
    policy.past_agent("attacker", tmp_path / "v", weights="attacker", version=1).act(
        requests("attacker")
    )
    found.logprobs.sum().backward()
    assert any(x.grad is not None and x.grad.any() for x in policy.parameters("attacker"))
    assert all(x.requires_grad for x in policy.parameters("attacker"))
