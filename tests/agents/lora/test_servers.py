"""Servers of completions: every replica is given each version, and a wrong one is named at the start."""

import contextlib
import http.server
import threading

import pytest
import torch
from fake_vllm import FakeVllm

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from redteam_env.game import RedteamError


@pytest.fixture
def serve(twin):
    """Return a starter of servers, which are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(model=None, **options) -> FakeVllm:
            return stack.enter_context(FakeVllm(twin(model), **options))

        yield start


@pytest.fixture
def made(tiny_model, tmp_path):
    """Return a maker of policies that sample from servers; they are closed after the test."""
    policies = []

    def make(*servers, **options):
        settings = {
            "model": str(tiny_model),
            "rank": 4,
            "max_new_tokens": 10,
            "device": "cpu",
            "backend": "served",
            "server_urls": ",".join(getattr(x, "url", x) for x in servers),
            "adapter_dir": str(tmp_path / "adapters"),
            "temperature": 0.7,
        }
        policies.append(lora(PolicyConfig(**{**settings, **options}), seed=0))
        return policies[-1]

    yield make
    for policy in policies:
        policy.close()


def move(policy, weights):
    draws = torch.Generator().manual_seed(len(weights))
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=draws))


def gap(policy, role, requests):
    found = [reply.generation for reply in policy.agent(role).act(requests(role=role))]
    own = policy.logprobs(role, found)
    theirs = torch.tensor([x for g in found for x in g.logprobs])
    return float((own.logprobs[own.mask].detach() - theirs).abs().max())


def test_tokens_and_logprobs_come_back_as_they_were_sampled(serve, made, requests):
    server = serve()
    policy = made(server)
    found = policy.agent("attacker").act(requests())
    assert gap(policy, "attacker", requests) < 1e-5
    for reply, request in zip(found, requests(), strict=True):
        prompt = policy.codec.encode(request.messages)
        assert reply.generation.prompt_ids == prompt
        assert reply.text == policy.codec.decode(reply.generation.completion_ids)
    again = policy.agent("attacker").act(requests())
    assert [r.text for r in again] == [r.text for r in found], "seeds are those of the paths"


def test_every_replica_gets_each_version_and_gives_up_the_one_before(serve, made, requests):
    servers = [serve(), serve(), serve()]
    policy = made(*servers)
    move(policy, "attacker")
    policy.publish("attacker")
    for server in servers:
        names = [name.partition("-")[0] for name in server.loaded]
        assert sorted(names) == ["attacker@1", "defender@0"]
    for role in ("attacker", "defender"):
        assert gap(policy, role, requests) < 1e-5
    before = [len(server.twin.calls) for server in servers]
    policy.agent("attacker").act(requests(6))
    assert [len(s.twin.calls) - n for s, n in zip(servers, before, strict=True)] == [2, 2, 2]
    policy.close()
    assert all(not server.loaded for server in servers)


def test_a_replica_that_keeps_old_weights_is_named(serve, made):
    first, second = serve(), serve()
    policy = made(first, second)
    second.twin.stale = True
    second.twin._first = {"attacker": next(n for n in second.loaded if n.startswith("attacker"))}
    move(policy, "attacker")
    with pytest.raises(RedteamError, match=rf"{second.url} still plays an older version"):
        policy.publish("attacker")


def test_an_address_may_end_in_v1_and_may_be_given_twice(serve, made):
    server = serve()
    policy = made(f"{server.url}/v1/", f"{server.url}/v1/")
    assert len(policy.backend._engines) == 1


def test_a_server_that_is_not_there_is_named_at_the_start(made):
    with pytest.raises(RedteamError, match=r"No server answers at http://127\.0\.0\.1:9/"):
        made("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>welcome</html>"),
        ("application/json", b'{"hello": "world"}'),
        ("application/json", b"[1, 2]"),
        ("application/json", b'{"data": ["tiny"]}'),
    ],
)
def test_a_server_that_speaks_another_protocol_is_named_at_the_start(made, kind, body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with pytest.raises(RedteamError, match=r"is no OpenAI-compatible server .*/v1/models"):
            made(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_of_another_base_is_named_at_the_start(serve, made, other_model):
    good, bad = serve(), serve(other_model)
    with pytest.raises(RedteamError, match=rf"{bad.url} serves another base than the trainer's"):
        made(good, bad)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"runtime_lora": False}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        ({"lora": False}, "start it with --enable-lora"),
        ({"max_lora_rank": 2}, "--max-lora-rank 4 or more"),
        ({"blind": True}, r"cannot read '.*adapters.*attacker@0.*--adapter-dir"),
        ({"max_model_len": 300}, "takes 300 tokens .*start it with --max-model-len 2048"),
        ({"key": "secret"}, "REDTEAM_ENV_SERVER_API_KEY"),
        ({"transform": lambda body: {**body, "choices": []}}, "return_token_ids"),
        ({"transform": lambda body: {**body, "model": "another"}}, "answered for another model"),
        ({"transform": lambda body: "welcome"}, "no JSON"),
    ],
)
def test_what_a_server_lacks_is_named_at_the_start(serve, made, fault, named):
    server = serve(**fault)
    with pytest.raises(RedteamError, match=named) as found:
        made(server)
    assert server.url in str(found.value)


def test_a_server_without_its_logprobs_mode_is_named_at_the_start(serve, made):
    server = serve()
    server.twin.raw = True
    with pytest.raises(RedteamError, match="--logprobs-mode processed_logprobs"):
        made(server)
    made(server, temperature=1.0)  # where it makes no difference


def test_a_key_is_sent_from_the_environment_only(serve, made, monkeypatch, requests):
    server = serve(key="secret")
    monkeypatch.setenv("REDTEAM_ENV_SERVER_API_KEY", "secret")
    assert gap(made(server), "attacker", requests) < 1e-5


def test_a_server_that_loses_an_adapter_stops_training_with_its_name(serve, made, requests):
    server = serve()
    policy = made(server)
    server.loaded.clear()  # as after a restart
    with pytest.raises(RedteamError, match=rf"{server.url} did not complete .*attacker@0.*404"):
        policy.agent("attacker").act(requests())


def test_a_server_that_is_gone_does_not_keep_a_run_from_ending(serve, made):
    server = serve()
    policy = made(server)
    server.__exit__()
    policy.close()


@pytest.mark.parametrize("arrangement", ["shared", "attacker_only", "defender_only"])
def test_every_arrangement_of_adapters_can_be_served(serve, made, requests, arrangement):
    policy = made(serve(), arrangement=arrangement)
    for role in ("attacker", "defender"):
        assert len(policy.agent(role).act(requests(role=role))) == 5
    assert gap(policy, policy.trainable_roles[0], requests) < 1e-5
