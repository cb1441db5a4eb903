"""The set of roles, their weights and their base models is open."""

import dataclasses

import pytest
import torch

from agents.lora.config import PolicyConfig, lora
from agents.lora.pool import PolicyPool
from redteam_env.game import RedteamError
from redteam_env.protocols import AnchoredPolicy, LeaguePolicy, TrainablePolicy, ValuedPolicy
from redteam_env.runs import POLICY, Run, newest
from redteam_env.trust import STARTED, sealed

JUDGE = "judge=judge"


def config(model, **options):
    shape = {"rank": 4, "max_new_tokens": 6, "device": "cpu"}
    return PolicyConfig(model=str(model), **{**shape, **options})


def test_a_further_role_has_weights_of_its_own_or_shares_others(make_policy):
    own = make_policy(roles=JUDGE)
    assert own.trainable_roles == ("attacker", "defender", "judge")
    assert own.names == ("attacker", "defender", "judge")
    shared = make_policy(roles="judge=defender")
    assert shared.weights_of("judge") == "defender"
    assert shared.names == ("attacker", "defender")
    frozen = make_policy(roles="judge=base")
    assert frozen.trainable_roles == ("attacker", "defender")
    assert make_policy("custom", roles=JUDGE).trainable_roles == ("judge",)


@pytest.fixture
def two_bases(tiny_model, other_model):
    return config(tiny_model, roles=JUDGE, bases=f"judge:{other_model}")


def test_each_role_plays_and_learns_on_its_own_base(two_bases, tiny_model, other_model, requests):
    policy = lora(two_bases, seed=0)
    assert isinstance(policy, TrainablePolicy)
    assert isinstance(policy, ValuedPolicy)
    assert isinstance(policy, LeaguePolicy)
    alone = {
        "attacker": lora(config(tiny_model), seed=0),
        "judge": lora(config(other_model, arrangement="custom", roles=JUDGE), seed=0),
    }
    for role, expected in alone.items():
        replies = policy.agent(role).act(requests(role=role))
        assert replies == expected.agent(role).act(requests(role=role))
        generations = [reply.generation for reply in replies]
        found = policy.logprobs(role, generations)
        torch.testing.assert_close(found.logprobs, expected.logprobs(role, generations).logprobs)
        torch.testing.assert_close(
            policy.reference_logprobs(role, generations).logprobs,
            expected.reference_logprobs(role, generations).logprobs,
        )
        found.logprobs.sum().backward()
        assert any(x.grad is not None for x in policy.parameters(policy.weights_of(role)))
    assert all(x.grad is None for x in policy.parameters("defender"))


def test_a_checkpoint_holds_all_bases_and_a_pool_plays_each_role(two_bases, tmp_path, requests):
    policy = lora(two_bases, seed=0)
    for name in ("attacker", "judge"):
        with torch.no_grad():
            for x in policy.parameters(name):
                x.add_(0.05)
        policy.publish(name)
    run = Run(tmp_path / "run")
    with run.new_checkpoint(1) as folder:
        policy.save(folder / POLICY)
    options = {"model": two_bases.model, "bases": two_bases.bases}
    run.write_record(sealed({"config": options, STARTED: str(run.path)}))
    again = lora(two_bases, seed=7)
    again.restore(newest(run.path) / POLICY)
    pool = PolicyPool(max_new_tokens=6, temperature=1.0, device="cpu")
    for role in ("attacker", "judge"):
        played = policy.agent(role).act(requests(role=role))
        assert again.agent(role).act(requests(role=role)) == played
        loaded = pool.load(str(run.path), role).act(requests(role=role))
        assert [x.text for x in loaded] == [x.text for x in played]


def test_a_run_with_other_roles_or_bases_is_not_gone_on_with(two_bases, tmp_path, make_policy):
    make_policy(roles=JUDGE).save(tmp_path / "three")
    with pytest.raises(RedteamError, match="weights of its roles"):
        make_policy().restore(tmp_path / "three")
    policy = lora(two_bases, seed=0)
    policy.save(tmp_path / "policy")
    swapped = dataclasses.replace(two_bases, bases=two_bases.bases.replace("judge", "attacker"))
    with pytest.raises(RedteamError, match="on its bases"):
        lora(swapped, seed=0).restore(tmp_path / "policy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roles": "judge"}, "NAME=VALUE"),
        ({"roles": "judge=../x"}, "lower-case"),
        ({"arrangement": "custom"}, "no weights are named"),
        ({"bases": "judge:other"}, "role in bases"),
        ({"roles": "judge=defender", "bases": "judge:other"}, "different bases"),
        ({"arrangement": "independent", "bases": "attacker:other"}, "whole models"),
    ],
)
def test_roles_and_bases_that_do_not_fit_are_refused(options, message):
    with pytest.raises(RedteamError, match=message):
        PolicyConfig(**options)


def test_a_run_on_several_bases_is_started_from_and_anchored_at(two_bases, tmp_path, requests):
    policy = lora(two_bases, seed=0)
    with torch.no_grad():
        for x in policy.parameters("judge"):
            x.add_(0.05)
    policy.publish("judge")
    run = Run(tmp_path / "run")
    with run.new_checkpoint(1) as folder:
        policy.save(folder / POLICY)
    run.write_record(sealed({"config": {"model": two_bases.model}, STARTED: str(run.path)}))
    fresh = lora(two_bases, seed=7)
    fresh.start_from(run.path)
    fresh.anchor_at(None)
    rows = [x.generation for x in policy.agent("judge").act(requests(role="judge"))]
    wanted = policy.logprobs("judge", rows).logprobs
    torch.testing.assert_close(fresh.logprobs("judge", rows).logprobs, wanted)
    torch.testing.assert_close(fresh.reference_logprobs("judge", rows).logprobs, wanted.detach())
    assert isinstance(fresh, AnchoredPolicy)
