"""The real server: adapters come and go while it runs, and what it lacks is named at the start."""

import dataclasses

import pytest
import torch
from vllm_shared import OPTIONS, engine_model, models, serving

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from agents.lora.vllm_server import VllmServer
from redteam_env.game import RedteamError

pytestmark = pytest.mark.vllm
CLOSE = 2e-5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of the tiny model; yields its address."""
    log = tmp_path_factory.mktemp("server") / "log"
    words = ["--enable-lora", "--max-loras", "3", "--max-lora-rank", "8"]
    with serving(engine_model(), log, *words, VLLM_ALLOW_RUNTIME_LORA_UPDATING="1") as url:
        yield url


@pytest.fixture
def made(server, tmp_path):
    policies = []

    def make(**options):
        served = {"backend": "served", "server_urls": server, "adapter_dir": str(tmp_path)}
        given = {"model": str(engine_model()), **OPTIONS, **served, **options}
        policies.append(lora(PolicyConfig(**given), seed=0))
        return policies[-1]

    yield make
    for policy in policies:
        policy.close()


def move(policy, weights):
    draws = torch.Generator().manual_seed(len(weights))
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=draws))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_adapters_go_to_the_server_and_come_off_it(server, made, requests, temperature):
    before = models(server)
    policy = made(temperature=temperature)
    for version in range(1, 3):
        for role in ("attacker", "defender"):
            move(policy, role)
            assert policy.publish(role) == version
            found = [reply.generation for reply in policy.agent(role).act(requests(5, role=role))]
            own = policy.logprobs(role, found)
            theirs = torch.tensor([x for g in found for x in g.logprobs])
            assert float((own.logprobs[own.mask].detach() - theirs).abs().max()) < CLOSE
            assert {g.version for g in found} == {version}
    names = sorted(name.partition("-")[0] for name in models(server) if name not in before)
    assert names == ["attacker@2", "defender@2"]
    policy.close()
    assert models(server) == before


def test_the_path_alone_decides_what_a_server_samples(made, requests):
    policy = made()
    first = [reply.text for reply in policy.agent("attacker").act(requests(5))]
    assert first == [made().agent("attacker").act([r])[0].text for r in requests(5)]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rank": 16}, "max_lora_rank is below the rank 16; start it with --max-lora-rank 16"),
        ({"max_prompt_tokens": 1000}, "start it with --max-model-len 1012"),
    ],
)
def test_what_the_server_lacks_is_named_at_the_start(made, options, named):
    with pytest.raises(RedteamError, match=named):
        made(**options)


def test_another_base_than_the_servers_is_named_at_the_start(made):
    with pytest.raises(RedteamError, match="serves another base than the trainer's"):
        made(model=str(engine_model(seed=1)))


def test_a_directory_that_the_server_cannot_read_is_named_at_the_start(made, monkeypatch):
    def elsewhere(self, adapter, add=VllmServer.add):
        add(self, dataclasses.replace(adapter, directory=adapter.directory / "elsewhere"))

    monkeypatch.setattr(VllmServer, "add", elsewhere)
    with pytest.raises(RedteamError, match=r"cannot read '.*elsewhere'.*--adapter-dir"):
        made()
