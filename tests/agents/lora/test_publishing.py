"""What an engine samples is the version published last, or training stops and says why."""

import copy
import dataclasses
import gc
import threading

import pytest
import torch

from agents.lora import publishing
from agents.lora.hf import Sampled
from agents.lora.publishing import EngineBackend
from redteam_env.game import RedteamError
from redteam_env.utils.threads import stop_event


@pytest.fixture
def policy(make_policy):
    return make_policy(temperature=0.7)


@pytest.fixture
def connect(policy, tmp_path):
    """Return a function that puts engines behind the policy."""

    def put(*engines, directory=str(tmp_path / "adapters")):
        policy.backend = EngineBackend(
            engines,
            policy.store,
            policy.codec,
            temperature=policy.config.temperature,
            max_new_tokens=policy.config.max_new_tokens,
            directory=directory,
        )
        policy._publish_all()
        return policy.backend

    return put


def move(policy, weights, size=0.05):
    """Change weights as an optimiser would, without telling anybody."""
    draws = torch.Generator().manual_seed(len(weights))
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(size * torch.randn(tensor.shape, generator=draws))


def gap(policy, role, requests):
    """Largest difference between an engine's log-probabilities and the trainer's."""
    found = [reply.generation for reply in policy.agent(role).act(requests(role=role))]
    own = policy.logprobs(role, found)
    theirs = torch.tensor([x for g in found for x in g.logprobs])
    return float((own.logprobs[own.mask].detach() - theirs).abs().max())


def test_each_version_is_sampled_from_once_it_is_published(policy, connect, twin, requests):
    connect(twin())
    for role in ("attacker", "defender"):
        assert gap(policy, role, requests) < 1e-5
    move(policy, "attacker")
    assert gap(policy, "attacker", requests) > 1e-2, "the engine knows nothing of this yet"
    assert policy.publish("attacker") == 1
    for role in ("attacker", "defender"):
        assert gap(policy, role, requests) < 1e-5


def test_every_generation_carries_the_version_that_made_it(policy, connect, twin, requests):
    engine = twin()
    connect(engine)
    for version in range(3):
        found = [reply.generation for reply in policy.agent("attacker").act(requests())]
        assert {(g.adapter, g.version) for g in found} == {("attacker", version)}
        assert engine.calls[-1][0].startswith(f"attacker@{version}-")
        move(policy, "attacker")
        policy.publish("attacker")


def test_no_name_number_or_directory_is_ever_used_twice(policy, connect, twin, monkeypatch):
    engine = twin()
    seen = []
    monkeypatch.setattr(
        engine, "add", lambda adapter, add=engine.add: (seen.append(adapter), add(adapter))
    )
    connect(engine)
    for _ in range(3):
        policy.publish("attacker")
    policy.store.versions["attacker"] = 0  # as a return to an earlier checkpoint does
    policy._publish_all()
    for what in ("name", "number", "directory"):
        assert len({getattr(adapter, what) for adapter in seen}) == len(seen) == 7


def test_the_version_before_is_forgotten_by_engine_and_disk(policy, connect, twin, tmp_path):
    engine = twin()
    backend = connect(engine)
    for _ in range(3):
        policy.publish("defender")
    (root,) = (tmp_path / "adapters").iterdir()
    assert sorted(path.name for path in root.iterdir()) == sorted(engine.held)
    assert [name.partition("-")[0] for name in sorted(engine.held)] == ["attacker@0", "defender@3"]
    backend.close()
    assert not root.exists()
    assert engine.held == []
    assert engine.closed


def test_a_policy_that_nobody_holds_any_more_leaves_nothing_behind(
    make_policy, twin, tmp_path, requests
):
    engine = twin()
    policy = make_policy()
    policy.backend = EngineBackend(
        [engine],
        policy.store,
        policy.codec,
        temperature=1.0,
        max_new_tokens=4,
        directory=str(tmp_path),
    )
    policy._publish_all()
    assert engine.held
    del policy
    gc.collect()
    assert engine.held == []
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_adapter_is_the_base(policy, connect, twin, requests):
    engine = twin()
    backend = connect(engine)
    prompts = [policy.codec.encode(r.messages) for r in requests()]
    paths = [r.path for r in requests()]
    found = [
        backend.generate(name, prompts, paths, max_new_tokens=8, temperature=0.7)
        for name in ("base", "attacker")
    ]
    assert [g.completion_ids for g in found[0]] == [g.completion_ids for g in found[1]]
    assert {(g.adapter, g.version) for g in found[0]} == {("base", 0)}


def test_an_engine_that_keeps_old_weights_stops_training(policy, connect, twin):
    connect(twin(stale=True))
    move(policy, "attacker")
    with pytest.raises(RedteamError, match=r"older version of 'attacker': version 1 moved"):
        policy.publish("attacker")


def test_even_a_small_step_that_does_not_arrive_is_noticed(policy, connect, twin):
    """Weights that move by less than the tolerance are seen by their standing still."""
    connect(twin(stale=True))
    move(policy, "attacker", size=2e-3)
    policy.backend._limits = dataclasses.replace(policy.backend._limits, gap=1.0)
    with pytest.raises(RedteamError, match="still plays an older version of 'attacker'"):
        policy.publish("attacker")


def test_weights_that_did_not_move_need_not_move_in_the_engine(policy, connect, twin):
    connect(twin(stale=True))
    assert policy.publish("attacker") == 1


def test_after_a_failed_hand_over_the_old_version_is_not_played(policy, connect, twin, requests):
    engine = twin(stale=True)
    connect(engine)
    move(policy, "attacker")
    with pytest.raises(RedteamError):
        policy.publish("attacker")
    with pytest.raises(RedteamError, match="version 1"):
        policy.agent("attacker").act(requests())


def test_an_engine_that_plays_other_weights_than_it_was_given_stops_training(policy, connect, twin):
    connect(twin(off=3.0))  # a fresh adapter is the base at any scale
    move(policy, "attacker")
    with pytest.raises(RedteamError, match=r"other weights than version 1 of 'attacker': .* nats"):
        policy.publish("attacker")


def test_one_stale_engine_among_several_is_named(policy, connect, twin):
    connect(twin(name="first"), twin(name="second", stale=True), twin(name="third"))
    move(policy, "attacker")
    with pytest.raises(RedteamError, match=r"^second still plays"):
        policy.publish("attacker")


def test_rows_are_spread_over_all_engines_and_come_back_in_order(
    policy, connect, twin, make_policy, requests
):
    engines = [twin(name=str(k)) for k in range(3)]
    connect(*engines)
    for engine in engines:
        engine.calls.clear()
    asked = requests(5)
    spread = policy.agent("attacker").act(asked)
    assert [[n for _, n in engine.calls] for engine in engines] == [[2], [2], [1]]
    connect(engines[0])
    assert [r.text for r in spread] == [r.text for r in policy.agent("attacker").act(asked)]
    assert policy.agent("attacker").act([]) == []


def test_one_call_samples_from_one_version_only(policy, connect, twin, requests):
    """The base and adapters never share a batch: each call of an engine names one of them."""
    engine = twin()
    backend = connect(engine)
    prompts = [policy.codec.encode(r.messages) for r in requests()]
    paths = [r.path for r in requests()]
    engine.calls.clear()
    for name in ("base", "attacker", "defender"):
        backend.generate(name, prompts, paths, max_new_tokens=4, temperature=0.7)
    assert [(name.partition("@")[0], n) for name, n in engine.calls] == [
        ("base", 5),
        ("attacker", 5),
        ("defender", 5),
    ]


def test_another_base_is_refused_before_anything_is_trained(connect, twin, other_model, tiny_model):
    with pytest.raises(
        RedteamError, match=r"another base than the trainer's '.*tiny'.*--dtype float32"
    ):
        connect(twin(other_model))


def test_an_engine_with_unscaled_logprobs_is_told_apart_from_one_with_another_base(connect, twin):
    with pytest.raises(RedteamError, match="--logprobs-mode processed_logprobs"):
        connect(twin(raw=True))


def test_an_engine_that_gives_nan_is_refused(connect, twin):
    engine = twin()
    parameter = next(engine.base.model.parameters())
    parameter.data = copy.deepcopy(parameter.data).fill_(float("nan"))
    with pytest.raises(RedteamError, match="logits are no numbers"):
        connect(engine)


def test_a_directory_that_cannot_be_written_to_is_named(connect, twin, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RedteamError, match=r"file'.*--adapter-dir"):
        connect(twin(), directory=str(tmp_path / "file"))


def test_restored_weights_are_published_again(policy, connect, twin, requests, tmp_path):
    connect(twin())
    move(policy, "attacker")
    policy.publish("attacker")
    policy.save(tmp_path / "saved")
    move(policy, "attacker")
    policy.publish("attacker")
    policy.restore(tmp_path / "saved")
    assert gap(policy, "attacker", requests) < 1e-5
    assert policy.agent("attacker").act(requests())[0].generation.version == 1


def test_saved_weights_of_a_league_are_played_by_the_engine(
    policy, connect, twin, requests, tmp_path
):
    engine = twin()
    move(policy, "attacker")
    expected = [reply.text for reply in policy.agent("attacker").act(requests())]
    policy.write_weights("attacker", tmp_path / "past")
    move(policy, "attacker", size=0.3)
    connect(engine)
    past = policy.past_agent("attacker", tmp_path / "past", weights="attacker", version=7)
    found = past.act(requests())
    assert {(r.generation.adapter, r.generation.version) for r in found} == {("attacker", 7)}
    assert engine.calls[-1][0].startswith("spare@")
    own = policy.logprobs("attacker", [r.generation for r in found])
    theirs = torch.tensor([x for r in found for x in r.generation.logprobs])
    assert float((own.logprobs[own.mask].detach() - theirs).abs().max()) > 1e-2
    assert len(found) == len(expected)


def test_the_engine_rests_whenever_the_trainer_computes(policy, connect, twin, requests):
    engine = twin()
    connect(engine)
    found = [reply.generation for reply in policy.agent("attacker").act(requests())]
    assert engine.rests == 0
    policy.logprobs("attacker", found)
    policy.reference_logprobs("attacker", found)
    policy.values("attacker", found)
    assert engine.rests == 3


def test_only_the_trainers_own_sampler_is_exact(policy, connect, twin):
    assert policy.exact_sampler
    connect(twin())
    assert not policy.exact_sampler


def test_the_probe_is_long_enough_to_fill_blocks_of_a_prefix_cache(policy, connect, twin):
    assert max(map(len, connect(twin())._probe_prompts)) > 128


def test_there_are_limits_for_every_format_that_can_be_trained():
    assert set(publishing.LIMITS) == {torch.float32, torch.bfloat16}


def test_steps_too_small_to_be_seen_add_up_until_a_stale_engine_is_noticed(
    policy, connect, twin, monkeypatch
):
    loose = publishing.Limits(gap=10.0, shift=0.05)  # as in bfloat16: one step is below the shift
    monkeypatch.setitem(publishing.LIMITS, torch.float32, loose)
    connect(twin(stale=True))
    with pytest.raises(RedteamError, match="still plays an older version"):  # noqa: PT012 - some step of many
        for _ in range(40):
            with torch.no_grad():
                for tensor in policy.parameters("attacker"):
                    tensor.add_(0.002)
            policy.publish("attacker")


def test_servers_of_another_user_may_read_a_version(policy, connect, twin, tmp_path):
    connect(twin())
    policy.publish("attacker")
    files = [x for x in (tmp_path / "adapters").rglob("*") if x.is_file()]
    assert {x.name for x in files} == {"adapter_config.json", "adapter_model.safetensors"}
    assert {x.stat().st_mode & 0o777 for x in files} == {0o644}


def test_an_engine_with_a_larger_vocabulary_is_named_at_start(policy, connect, twin, monkeypatch):
    engine = twin()
    row = Sampled(ids=(10**6,), logprobs=(-1.0,), finished=False)
    monkeypatch.setattr(engine, "complete", lambda _, prompts, *__, **___: [row for _ in prompts])
    with pytest.raises(RedteamError, match=r"another base.*vocabulary"):
        connect(engine)


def test_an_error_of_one_engine_ends_the_others(policy, connect, twin, requests, monkeypatch):
    stopped = threading.Event()
    engines = twin(name="good"), twin(name="bad")
    connect(*engines)

    def waits(*_, **__):
        stop = stop_event()
        assert stop.wait(30)
        stopped.set()
        raise RedteamError("stopped")

    def fails(*_, **__):
        raise RedteamError("bad is gone")

    monkeypatch.setattr(engines[1], "complete", waits)
    monkeypatch.setattr(engines[0], "complete", fails)
    with pytest.raises(RedteamError, match="bad is gone"):
        policy.agent("attacker").act(requests())
    assert stopped.is_set()
