"""Whole models that engines sample from: one at a time, each written once, loaded and proved."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from fake_vllm import FakeVllm

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from agents.lora.publishing import EngineBackend
from redteam_env.game import RedteamError

ROLES = ("attacker", "defender")


@pytest.fixture(params=["shared_full", "independent"])
def arrangement(request):
    return request.param


@pytest.fixture
def connect(tmp_path):
    """Return a function that puts engines behind a policy."""

    def put(policy, *engines):
        policy.backend = EngineBackend(
            engines,
            policy.store,
            policy.codec,
            temperature=policy.config.temperature,
            max_new_tokens=policy.config.max_new_tokens,
            directory=str(tmp_path / "weights"),
            whole=True,
        )
        policy._publish_all()
        return policy

    return put


@pytest.fixture
def serve(twin):
    """Return a starter of servers, which are stopped after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(FakeVllm(twin(), **options))


@pytest.fixture
def made(tiny_model, tmp_path):
    """Return a maker of policies that sample from servers."""

    def make(*servers, **options):
        settings = {
            "model": str(tiny_model),
            "max_new_tokens": 10,
            "device": "cpu",
            "backend": "served",
            "server_urls": ",".join(x.url for x in servers),
            "adapter_dir": str(tmp_path / "weights"),
        }
        return lora(PolicyConfig(**{**settings, **options}), seed=0)

    return make


def move(policy, weights, seed=0):
    draws = torch.Generator().manual_seed(seed + ord(weights[0]))
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(0.02 * torch.randn(tensor.shape, generator=draws))


def update(policy, seed=0):
    for name in policy.names:
        move(policy, name, seed)
        policy.publish(name)


def gap(policy, role, requests):
    found = [reply.generation for reply in policy.agent(role).act(requests(role=role))]
    own = policy.logprobs(role, found)
    theirs = torch.tensor([x for g in found for x in g.logprobs])
    return float((own.logprobs[own.mask].detach() - theirs).abs().max())


def test_each_role_plays_its_newest_weights(make_policy, connect, twin, requests, arrangement):
    policy = connect(make_policy(arrangement), twin(), twin())
    for version in range(3):
        for role in (*ROLES, *ROLES):  # the engine changes over
            found = [reply.generation for reply in policy.agent(role).act(requests(role=role))]
            assert {(g.adapter, g.version) for g in found} == {(policy.weights_of(role), version)}
            assert gap(policy, role, requests) < 1e-5
        update(policy, seed=version)


def test_only_the_versions_that_count_are_on_disk(
    make_policy, connect, twin, tmp_path, arrangement
):
    policy = connect(make_policy(arrangement), twin())
    for seed in range(3):
        update(policy, seed)
    (root,) = (tmp_path / "weights").iterdir()
    names = sorted(path.name.partition("-")[0] for path in root.iterdir())
    assert names == sorted(f"{name}@3" for name in policy.names)
    policy.close()
    assert not root.exists()


def test_an_engine_that_keeps_its_weights_stops_training(make_policy, connect, twin, arrangement):
    policy = connect(make_policy(arrangement), twin(stale=True))
    with pytest.raises(RedteamError, match=r"still plays an older version"):
        update(policy)


def test_an_engine_that_changes_over_to_other_weights_is_found_out(
    make_policy, connect, twin, requests
):
    engine = twin()
    policy = connect(make_policy("independent"), engine)
    update(policy)
    assert gap(policy, "attacker", requests) < 1e-5
    engine.stale = True
    with pytest.raises(RedteamError, match=r"plays other weights than version 1 of 'defender'"):
        gap(policy, "defender", requests)
    engine.stale = False
    for role in ROLES:  # what could not be proved is loaded again
        assert gap(policy, role, requests) < 1e-5


def test_past_weights_and_the_base_have_their_turn(make_policy, connect, twin, requests, tmp_path):
    policy = connect(make_policy("shared_full"), twin())
    policy.write_weights("shared", tmp_path / "shared@0")
    update(policy)
    past = policy.past_agent("defender", tmp_path / "shared@0", weights="shared", version=0)
    asked = requests(role="defender")
    prompts, paths = [policy.codec.encode(r.messages) for r in asked], [r.path for r in asked]
    options = {"max_new_tokens": 10, "temperature": policy.config.temperature}
    base = [g.completion_ids for g in policy.backend.generate("base", prompts, paths, **options)]
    for _ in range(2):
        assert gap(policy, "defender", requests) < 1e-5
        found = [reply.generation for reply in past.act(asked)]
        assert {(g.adapter, g.version) for g in found} == {("shared", 0)}
        assert [g.completion_ids for g in found] == base


def test_servers_are_given_whole_models(serve, made, requests, arrangement):
    servers = [serve(dev=True, lora=False), serve(dev=True, lora=False)]
    policy = made(*servers, arrangement=arrangement)
    for seed in range(2):
        update(policy, seed)
        for role in ROLES:
            assert gap(policy, role, requests) < 1e-5
    for server in servers:
        paths = [path for path, _ in server.requests]
        loads = [k for k, path in enumerate(paths) if path == "/collective_rpc"]
        assert all(paths[k + 1] == "/reset_prefix_cache" for k in loads)
    policy.close()


def test_a_server_that_a_run_left_trained_weights_on_plays_the_base_again(serve, made, requests):
    server = serve(dev=True)
    policy = made(server, arrangement="shared_full")
    update(policy)
    policy.close()
    policy = made(server, arrangement="independent")
    assert gap(policy, "attacker", requests) < 1e-5
    policy.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "start it with VLLM_SERVER_DEV_MODE=1"),
        ({"dev": True, "blind": True}, "status 500 from /collective_rpc.*--adapter-dir"),
        ({"dev": True, "max_model_len": 100}, "start it with --max-model-len"),
    ],
)
def test_what_a_server_lacks_is_named_at_the_start(serve, made, options, named):
    with pytest.raises(RedteamError, match=named):
        made(serve(**options), arrangement="shared_full")


def test_one_of_several_trainers_is_refused(serve, made, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RedteamError, match="one of several trainers"):
        made(serve(dev=True), arrangement="independent")


def test_a_disk_without_room_is_refused_before_anything_is_played(
    make_policy, connect, twin, tmp_path, monkeypatch
):
    disk = SimpleNamespace(free=10_000)
    monkeypatch.setattr("shutil.disk_usage", lambda place: disk)
    with pytest.raises(RedteamError, match=r"3 whole models .* 10,000 free.*--adapter-dir"):
        connect(make_policy("independent"), twin())
    assert list((tmp_path / "weights").iterdir()) == []
