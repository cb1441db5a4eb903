"""Agents out of whatever a user names: runs, checkpoints, adapters, models, the base."""

import copy
import json
import pickle

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import save_tiny, tiny_qwen
from transformers import AutoModelForCausalLM

from agents.lora.pool import PolicyPool
from redteam_env.game import RedteamError
from redteam_env.runs import POLICY, Run
from redteam_env.trust import STARTED, sealed
from redteam_env.utils.files import MANIFEST, write_manifest


def pool(**options) -> PolicyPool:
    return PolicyPool(**{"device": "cpu", "max_new_tokens": 8, **options})


def disturb(policy, size: float) -> None:
    draws = torch.Generator().manual_seed(round(1000 * size))
    with torch.no_grad():
        for name in policy.names:
            for tensor in policy.parameters(name):
                tensor.add_(size * torch.randn(tensor.shape, generator=draws))
            policy.publish(name)


@pytest.fixture(scope="module")
def make_run(make_policy, tmp_path_factory):
    """Return a maker of run directories as training leaves them."""

    def make(arrangement="bipolicy", size=0.1, steps=(1,), **options):
        run = tmp_path_factory.mktemp("runs") / arrangement
        policy = make_policy(arrangement, max_new_tokens=8, temperature=0.0, **options)
        for step in steps:
            disturb(policy, size)
            with Run(run).new_checkpoint(step) as folder:
                policy.save(folder / POLICY)
        config = {"model": policy.config.model, "arrangement": arrangement}
        Run(run).write_record(sealed({"config": config, STARTED: str(run)}))
        return run, policy

    return make


@pytest.fixture(scope="module")
def run(make_run):
    return make_run(steps=(1, 2))


def said(agent, requests, role="attacker"):
    """What an agent samples and how likely it finds that: the fingerprint of its weights."""
    made = [reply.generation for reply in agent.act(requests(4, role))]
    return [(g.completion_ids, [round(x, 3) for x in g.logprobs]) for g in made]


@pytest.mark.parametrize("role", ["attacker", "defender"])
def test_a_run_plays_with_its_newest_weights_of_the_role(run, requests, role):
    directory, policy = run
    agent = pool().load(str(directory), role)
    assert said(agent, requests, role) == said(policy.agent(role), requests, role)
    assert {r.generation.version for r in agent.act(requests(2, role))} == {2}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_agent_plays_with_the_same_weights(run, requests, duplicate):
    agent = pool().load(str(run[0]), "attacker")
    assert said(duplicate(agent), requests) == said(agent, requests)


def test_checkpoint_and_adapter_directories_are_named_directly(run, requests):
    directory, policy = run
    adapter = directory / "checkpoints" / "step-000002" / "policy" / "defender"
    expected = said(policy.agent("defender"), requests, "defender")
    assert said(pool().load(str(adapter.parents[1]), "defender"), requests, "defender") == expected
    assert said(pool().load(str(adapter), "attacker"), requests, "defender") == expected


def test_an_older_checkpoint_plays_as_it_was_then(run, requests):
    directory, policy = run
    old = pool().load(str(directory / "checkpoints" / "step-000001"), "attacker")
    assert said(old, requests) != said(policy.agent("attacker"), requests)
    assert {r.generation.version for r in old.act(requests(2))} == {1}


def test_agents_of_two_temperatures_share_one_set_of_weights(run, requests):
    together = pool(temperature=0.0)
    greedy = together.load(str(run[0]), "attacker")
    warm = together.load(str(run[0]), "attacker", temperature=1.0, max_new_tokens=3)
    assert (warm.backend.store, warm.weights) == (greedy.backend.store, greedy.weights)
    assert {r.generation.temperature for r in greedy.act(requests(3))} == {0.0}
    sampled = [r.generation for r in warm.act(requests(3))]
    assert {g.temperature for g in sampled} == {1.0}
    assert max(len(g.completion_ids) for g in sampled) <= 3


def test_runs_share_one_base_in_memory_and_keep_their_own_weights(run, make_run, requests):
    other, other_policy = make_run("shared", size=0.2)
    together = pool()
    a = together.load(str(run[0]), "attacker")
    b = together.load(str(other), "attacker")
    assert a.backend.store is b.backend.store
    for _ in range(2):  # switching between them changes neither
        assert said(a, requests) == said(run[1].agent("attacker"), requests)
        assert said(b, requests) == said(other_policy.agent("attacker"), requests)
    assert together.load(str(run[0]), "attacker") == a, "an adapter is loaded once"


def test_the_parameters_of_a_model_are_told_without_its_adapters(run, tiny_model):
    alone, adapted = PolicyPool(base=str(tiny_model)), PolicyPool()
    alone.load("base", "attacker")
    adapted.load(str(run[0]), "attacker")
    assert alone.models() == adapted.models()


def test_base_is_the_untrained_model_even_with_adapters_loaded(run, tiny_model, requests):
    both = pool(base=str(tiny_model))
    both.load(str(run[0]), "attacker")
    alone = pool().load(str(tiny_model), "attacker")
    assert said(both.load("base", "attacker"), requests) == said(alone, requests)


def test_base_means_the_base_of_the_first_run(run, tiny_model, requests):
    first = pool()
    first.load(str(run[0]), "attacker")
    alone = pool().load(str(tiny_model), "attacker")
    assert said(first.load("base", "attacker"), requests) == said(alone, requests)


def test_base_alone_is_an_error_that_asks_for_a_model():
    with pytest.raises(RedteamError, match="--model"):
        pool().load("base", "attacker")


def test_the_frozen_seat_of_a_one_sided_run_is_the_base(make_run, tiny_model, requests):
    directory, policy = make_run("attacker_only")
    alone = pool().load(str(tiny_model), "defender")
    frozen = pool().load(str(directory), "defender")
    assert said(frozen, requests, "defender") == said(alone, requests, "defender")
    trained = pool().load(str(directory), "attacker")
    assert said(trained, requests) == said(policy.agent("attacker"), requests)


@pytest.mark.parametrize("arrangement", ["shared_full", "independent"])
def test_runs_of_whole_models_are_played_with_theirs(make_run, tiny_model, requests, arrangement):
    directory, policy = make_run(arrangement, size=0.01)
    together = pool()
    for role in ("attacker", "defender"):
        agent = together.load(str(directory), role)
        assert said(agent, requests, role) == said(policy.agent(role), requests, role)
    assert said(together.load(str(directory), "attacker"), requests) != said(
        pool().load(str(tiny_model), "attacker"), requests
    )


def test_after_a_run_of_whole_models_base_is_the_model_it_started_from(
    make_run, tiny_model, requests
):
    first = pool()
    first.load(str(make_run("shared_full", size=0.01)[0]), "attacker")
    alone = pool().load(str(tiny_model), "attacker")
    assert said(first.load("base", "attacker"), requests) == said(alone, requests)


def test_an_adapter_that_peft_itself_saved_is_played(tiny_model, tmp_path, requests):
    torch.manual_seed(5)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    get_peft_model(model, config).save_pretrained(tmp_path / "plain")
    with pytest.raises(RedteamError, match=f"names '{tiny_model}' as model.* add model="):
        pool().load(str(tmp_path / "plain"), "attacker")  # it may come from anybody
    agent = pool(base=str(tiny_model)).load(str(tmp_path / "plain"), "attacker")
    assert said(agent, requests) != said(pool().load(str(tiny_model), "attacker"), requests)


def test_an_adapter_for_another_base_is_refused(make_run, other_model):
    directory, _ = make_run()
    with pytest.raises(RedteamError, match=r"trained on another base.*--model"):
        pool(base=str(other_model)).load(str(directory), "attacker")


def test_an_adapter_for_a_model_of_another_shape_is_refused(tmp_path):
    large = save_tiny(tmp_path / "large", hidden=64)
    get_peft_model(tiny_qwen(), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        tmp_path / "adapter"
    )
    with pytest.raises(RedteamError, match="do not fit this model"):
        pool(base=str(large)).load(str(tmp_path / "adapter"), "attacker")


def test_a_refused_adapter_does_not_spoil_the_pool(run, make_run, requests):
    broken, _ = make_run()
    file = broken / "checkpoints/step-000001/policy/attacker/adapter_model.safetensors"
    file.write_bytes(b"garbled")
    together = pool()
    for _ in range(2):
        with pytest.raises(RedteamError, match=r"adapter_model\.safetensors"):
            together.load(str(broken), "attacker")
    good = together.load(str(run[0]), "attacker")
    assert said(good, requests) == said(run[1].agent("attacker"), requests)


def test_a_run_without_checkpoint_is_an_error_that_says_so(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text('{"schema": 1, "config": {}}')
    with pytest.raises(RedteamError, match="has no checkpoint yet"):
        pool().load(str(tmp_path), "attacker")


def test_a_checkpoint_that_was_not_finished_is_passed_over(make_run):
    directory, _ = make_run(steps=(1,))
    (directory / "checkpoints" / ".step-000010.partial" / "policy").mkdir(parents=True)
    agent = pool().load(str(directory), "attacker")
    assert agent.backend.store.versions[agent.weights] == 1


def test_a_checkpoint_without_its_manifest_is_an_error(make_run):
    directory, _ = make_run(steps=(1,))
    (directory / "checkpoints" / "step-000001" / "manifest.json").unlink()
    with pytest.raises(RedteamError, match=r"step-000001.*manifest\.json"):
        pool().load(str(directory), "attacker")


@pytest.mark.parametrize("name", ["no_such_thing", "./nowhere", "a/b/c", ""])
def test_an_unknown_name_is_an_error_that_lists_what_is_allowed(name):
    with pytest.raises(RedteamError, match=r"smollm2.*directory.*hub id"):
        pool().load(name, "attacker")


def test_a_role_without_weights_is_an_error(run):
    with pytest.raises(RedteamError, match="'judge'"):
        pool().load(str(run[0]), "judge")


@pytest.mark.parametrize("card", ["{}", "[]", '{"weights": {"attacker": "attacker"}}'])
def test_a_garbled_policy_card_is_an_error(make_run, card):
    directory, _ = make_run()
    (directory / "checkpoints/step-000001/policy/policy.json").write_text(card)
    with pytest.raises(RedteamError):
        pool().load(str(directory), "attacker")


def test_an_adapter_that_names_no_base_is_an_error_that_asks_for_one(tmp_path):
    get_peft_model(tiny_qwen(), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        tmp_path
    )
    with pytest.raises(RedteamError, match="--model"):
        pool().load(str(tmp_path), "attacker")


def test_an_altered_checkpoint_is_an_error_that_names_the_file(make_run):
    directory, _ = make_run()
    file = directory / "checkpoints/step-000001/policy/attacker/adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(RedteamError, match=r"adapter_model\.safetensors.*altered"):
        pool().load(str(directory), "attacker")


@pytest.mark.parametrize("name", ["../../../../other", "/etc", ".."])
def test_weights_that_a_card_says_lie_elsewhere_are_not_read(make_run, name):
    directory, policy = make_run(size=0.2)
    place = Run(directory).latest().path
    card = json.loads((place / POLICY / "policy.json").read_text())
    card["weights"]["defender"] = name
    (place / POLICY / "policy.json").write_text(json.dumps(card))
    (place / MANIFEST).unlink()
    write_manifest(place, {"step": 1})
    with pytest.raises(RedteamError, match="is no folder beside it"):
        pool().load(str(directory), "defender")
    with pytest.raises(RedteamError, match="is no folder beside it"):
        policy.start_from(directory)


def test_a_base_outside_a_strangers_run_is_loaded_only_if_the_user_names_it(make_run, tiny_model):
    directory, _ = make_run("attacker_only")
    Run(directory).write_record({"config": {"model": str(tiny_model)}})
    for role in ("attacker", "defender"):
        with pytest.raises(RedteamError, match=f"add model='{tiny_model}'"):
            pool().load(str(directory), role)
        pool(base=str(tiny_model)).load(str(directory), role)
