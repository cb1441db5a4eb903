"""What an update of REINFORCE++ promises beside its formula: batches, orders, guards, state."""

import math

import pytest
import torch
from table_policy import TablePolicy
from test_reinforce_pp_reference import (
    SHARED,
    SPLIT,
    START,
    batches,
    make_algorithm,
    make_policy,
    stored,
)

from redteam_env.game import RedteamError


def rows_after(weights, updates=1, **options):
    policy = make_policy(weights)
    algorithm = make_algorithm(policy, **{"lr": 0.1, "kl": 0.2, **options})
    for _ in range(updates):
        algorithm.update(policy, batches(stored(weights)))
    return {name: policy.rows(name) for name in sorted(set(weights.values()))}


def close(tables):
    return {name: [pytest.approx(row, abs=1e-12) for row in rows] for name, rows in tables.items()}


@pytest.mark.parametrize("weights", [SPLIT, SHARED])
def test_the_size_of_micro_batches_does_not_change_the_step(weights):
    whole = rows_after(weights, micro_batch=8, epochs=2)
    for size in (1, 2):
        assert rows_after(weights, micro_batch=size, epochs=2) == close(whole)


@pytest.mark.parametrize("weights", [SPLIT, SHARED])
def test_minibatches_are_shuffled_but_repeatable(weights):
    first = rows_after(weights, minibatch=1, updates=3)
    assert first == rows_after(weights, minibatch=1, updates=3)
    policy = make_policy(weights)
    algorithm = make_algorithm(policy, lr=0.1, kl=0.2, minibatch=1)
    algorithm._seed = 1
    for _ in range(3):
        algorithm.update(policy, batches(stored(weights)))
    assert policy.rows("shared" if weights is SHARED else "attacker") not in first.values()


def test_each_minibatch_takes_a_step_and_every_sample_is_used_once():
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy, minibatch=2)
    algorithm.update(policy, batches(stored(SPLIT)))
    steps = {n: int(algorithm.state().tensors[f"{n}/0/step"]) for n in ("attacker", "defender")}
    assert steps == {"attacker": 2, "defender": 1}


def test_a_role_without_samples_or_without_weights_is_passed_over():
    games = batches(stored(SPLIT))
    policy = make_policy(SPLIT)
    metrics = make_algorithm(policy).update(policy, {"attacker": games["attacker"]})
    assert policy.rows("defender") == START["defender"]
    assert policy.versions == {"base": 0, "attacker": 1, "defender": 0}
    assert not any(name.startswith("defender/") for name in metrics)
    one_sided = TablePolicy(
        {"attacker": "attacker", "defender": "base"},
        {"attacker": START["attacker"], "base": START["defender"]},
    )
    make_algorithm(one_sided).update(one_sided, games)
    assert one_sided.rows("base") == START["defender"]
    assert one_sided.rows("attacker") != START["attacker"]


def test_nothing_to_learn_from_changes_nothing():
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy)
    assert algorithm.update(policy, {}) == {}
    assert policy.versions == {"base": 0, "attacker": 0, "defender": 0}
    assert algorithm.state().tensors == {}


@pytest.mark.parametrize(
    "bad",
    [
        ((0,), (-1.0,), math.nan),
        ((0,), (-1.0,), math.inf),
        ((0,), (-math.inf,), 1.0),
        ((0,), (math.nan,), 1.0),
    ],
)
def test_a_number_that_is_not_finite_stops_training_before_it_spoils_the_weights(bad):
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy)
    games = {**stored(SPLIT), "defender": [((1,), (-1.0,), 0.5), bad]}
    with pytest.raises(RedteamError, match=r"[Gg]ame.* 1.*not finite.*init-from"):
        algorithm.update(policy, batches(games))
    assert {name: policy.rows(name) for name in SPLIT} == {name: START[name] for name in SPLIT}
    assert algorithm.state().tensors == {}


def test_a_gradient_that_is_not_finite_is_not_applied():
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy, lr=0.1)
    policy.tables["attacker"].register_hook(lambda grad: grad * math.nan)
    with pytest.raises(RedteamError, match=r"gradient of 'attacker' is nan.*init-from"):
        algorithm.update(policy, batches(stored(SPLIT)))
    assert policy.rows("attacker") == START["attacker"]


def test_training_goes_on_from_a_saved_state_as_if_nothing_had_happened():
    options = {"lr": 0.1, "kl": 0.2, "baseline": "ema", "minibatch": 1, "warmup_steps": 5}
    whole = rows_after(SPLIT, updates=4, **options)
    policy = make_policy(SPLIT)
    first = make_algorithm(policy, **options)
    for _ in range(2):
        first.update(policy, batches(stored(SPLIT)))
    second = make_algorithm(policy, **options)
    second.load_state(first.state())
    for _ in range(2):
        second.update(policy, batches(stored(SPLIT)))
    assert {name: policy.rows(name) for name in SPLIT} == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("attacker/0/exp_avg"), r"attacker/0 is incomplete"),
        (lambda t: t.update({"attacker/0/exp_avg": torch.zeros(2)}), r"attacker/0.*another shape"),
        (lambda t: t.update({"nobody/0/step": torch.zeros(1)}), r"'nobody/0/step'"),
        (lambda t: t.clear(), r"empty after 1 updates"),
    ],
)
def test_an_optimiser_state_that_does_not_fit_is_refused(change, message):
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy)
    algorithm.update(policy, batches(stored(SPLIT)))
    state = algorithm.state()
    change(state.tensors)
    with pytest.raises(RedteamError, match=message):
        make_algorithm(make_policy(SPLIT)).load_state(state)


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    rows_after(SPLIT)
    assert torch.equal(torch.random.get_rng_state(), before)
