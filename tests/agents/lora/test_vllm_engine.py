"""The real vLLM in this process plays exactly the trainer's weights, the newest, and no others."""

import itertools
import shutil

import pytest
import torch
from vllm_shared import OPTIONS, engine_model, share_engine

from agents.lora import publishing
from agents.lora.config import PolicyConfig
from agents.lora.hf import completion_logprobs
from agents.lora.policy import lora
from agents.lora.publishing import Published
from redteam_env.game import Generation, RedteamError

pytestmark = pytest.mark.vllm
CLOSE = 2e-5


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Return a maker of policies on one engine."""
    share_engine(monkeypatch)
    policies = []

    def make(**options):
        directory = {"adapter_dir": str(tmp_path / "adapters")}
        config = PolicyConfig(model=str(engine_model()), **{**OPTIONS, **directory, **options})
        policies.append(lora(config, seed=0))
        return policies[-1]

    yield make
    for policy in policies:
        policy.close()


def move(policy, weights, size=0.05, seed=0):
    draws = torch.Generator().manual_seed(seed + len(weights))
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(size * torch.randn(tensor.shape, generator=draws))


def own(policy, weights, generations):
    with torch.no_grad(), policy.store.using(weights) as model:
        found = completion_logprobs(model, generations, pad_id=0)
    return found.logprobs[found.mask]


def gap(policy, weights, generations):
    theirs = torch.tensor([x for g in generations for x in g.logprobs])
    return float((own(policy, weights, generations) - theirs).abs().max())


def sampled(policy, weights, requests):
    return policy.backend.generate(
        weights,
        [policy.codec.encode(r.messages) for r in requests],
        [r.path for r in requests],
        max_new_tokens=12,
        temperature=policy.config.temperature,
    )


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_are_the_trainers_for_both_roles_and_the_base(made, requests, temperature):
    policy = made(temperature=temperature)
    for role in ("attacker", "defender"):
        move(policy, role)
        policy.publish(role)
    texts = {}
    for name in ("attacker", "base", "defender", "base", "attacker"):  # none leaks into another
        found = sampled(policy, name, requests(6))
        assert gap(policy, name, found) < CLOSE
        assert texts.setdefault(name, [g.completion_ids for g in found]) == [
            g.completion_ids for g in found
        ]
    assert len({str(x) for x in texts.values()}) == 3


def test_two_adapters_in_one_batch_are_each_played_by_their_own_rows(made, requests):
    policy = made()
    for role in ("attacker", "defender"):
        move(policy, role)
        policy.publish(role)
    (engine,), adapters = policy.backend._engines, policy.backend._published
    names = ["attacker", "defender", "defender", "attacker", "attacker", "defender"]
    prompts = [policy.codec.encode(r.messages) for r in requests(6)]
    params = engine._vllm.SamplingParams(
        max_tokens=12, logprobs=0, detokenize=False, temperature=1.0, ignore_eos=True, seed=3
    )
    answers = engine._llm.generate(
        [{"prompt_token_ids": list(p)} for p in prompts],
        params,
        lora_request=[engine._request(adapters[name]) for name in names],
        use_tqdm=False,
    )
    for name, prompt, answer in zip(names, prompts, answers, strict=True):
        row = engine._sampled(answer.outputs[0])
        found = Generation(
            prompt_ids=prompt,
            completion_ids=row.ids,
            logprobs=row.logprobs,
            adapter=name,
            version=1,
            temperature=1.0,
            finished=True,
        )
        other = "defender" if name == "attacker" else "attacker"
        assert gap(policy, name, [found]) < CLOSE
        assert gap(policy, other, [found]) > 1e-2


def test_each_update_is_sampled_from_at_once(made, requests):
    policy = made()
    for version in range(1, 4):
        move(policy, "attacker", seed=version)
        assert policy.publish("attacker") == version
        for role in ("attacker", "defender"):
            found = [reply.generation for reply in policy.agent(role).act(requests(5, role=role))]
            assert gap(policy, role, found) < CLOSE
            assert {g.version for g in found} == {version if role == "attacker" else 0}


def test_old_versions_leave_engine_and_disk(made, tmp_path):
    policy = made()
    (engine,) = policy.backend._engines
    for _ in range(8):  # more than the engine has places for
        policy.publish("attacker")
        policy.publish("defender")
    held = engine._llm.llm_engine.list_loras()
    numbers = {adapter.number for adapter in policy.backend._published.values()}
    assert numbers <= set(held)
    assert len(list((tmp_path / "adapters").glob("*/*"))) == 2
    policy.close()
    assert not numbers & set(engine._llm.llm_engine.list_loras())


def test_weights_written_over_the_same_directory_are_stale_and_noticed(made, monkeypatch):
    """Why every version has a name, a number and a directory of its own: vLLM keeps the old tensors."""
    policy = made()
    move(policy, "attacker")
    policy.publish("attacker")
    backend = policy.backend
    before = backend._published["attacker"]

    def overwrite(weights, directory, save=policy.store.save):
        shutil.rmtree(before.directory)
        save(weights, before.directory)
        directory.mkdir()

    monkeypatch.setattr(policy.store, "save", overwrite)
    monkeypatch.setattr(publishing, "_NUMBERS", itertools.repeat(before.number))
    move(policy, "attacker", seed=1)
    with pytest.raises(RedteamError, match="still plays an older version of 'attacker'"):
        policy.publish("attacker")


def test_a_reused_name_plays_old_keys_and_values_and_is_noticed(made):
    """Under a new number vLLM reads the new tensors, but its prefix cache knows name and path only."""
    policy = made()
    move(policy, "attacker")
    policy.publish("attacker")
    (engine,) = policy.backend._engines
    first = policy.backend._published["attacker"]
    policy.backend._probe(engine, first)  # its prompts are in the cache now
    move(policy, "attacker", seed=1)
    shutil.rmtree(first.directory)
    policy.store.save("attacker", first.directory)
    again = Published(
        weights="attacker",
        version=2,
        name=first.name,
        number=next(publishing._NUMBERS),
        directory=first.directory,
    )
    engine._llm.llm_engine.remove_lora(first.number)
    engine.add(again)
    shown = policy.backend._probe(engine, again)
    with pytest.raises(RedteamError, match="plays other weights than"):
        policy.backend._check_agreement(engine, "attacker", shown)
    engine._llm.reset_prefix_cache()
    policy.backend._check_agreement(engine, "attacker", policy.backend._probe(engine, again))
    engine.remove(again)


def test_a_completion_ends_with_its_stop_token_as_in_the_hf_backend(made, requests):
    policy = made()
    (engine,) = policy.backend._engines
    monkey = pytest.MonkeyPatch()
    monkey.setattr(engine, "_stop_ids", list(range(20)))
    try:
        found = sampled(policy, "attacker", requests(12))
    finally:
        monkey.undo()
    assert {g.finished for g in found} == {True, False}
    for g in found:
        assert not set(g.completion_ids[:-1]) & set(range(20))
        assert g.finished == (g.completion_ids[-1] < 20)
        assert g.finished or len(g.completion_ids) == 12
        assert len(g.logprobs) == len(g.completion_ids)


def test_the_path_alone_decides_what_is_sampled(made, requests):
    policy = made()
    together = sampled(policy, "attacker", requests(6))
    alone = [sampled(policy, "attacker", [request])[0] for request in requests(6)]
    other = sampled(policy, "attacker", requests(6, run=1))
    assert [g.completion_ids for g in together] == [g.completion_ids for g in alone]
    assert all(a.completion_ids != b.completion_ids for a, b in zip(together, other, strict=True))


def test_an_adapter_that_vllm_does_not_take_is_named_at_the_start(made):
    with pytest.raises(RedteamError, match="vLLM cannot take the adapter 'attacker@0"):
        made(rank=16)  # the engine of these tests has room for 8


def test_an_engine_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr("agents.lora.vllm_engine._ENVIRONMENT", {})
    config = PolicyConfig(model=str(engine_model()), **{**OPTIONS, "kv_cache_gb": 1e-6})
    with pytest.raises(RedteamError, match="vLLM cannot load"):
        lora(config, seed=0)
