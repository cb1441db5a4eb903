"""A whole update of REINFORCE++ against the plain reference: losses, gradients, steps, all baselines."""

import itertools
import json
import math

import pytest
import reinforce_reference as ref
from table_policy import LETTERS, TablePolicy, role_batch

from algorithms.reinforce_pp import EMA_DECAY, ReinforcePP, ReinforcePPConfig
from redteam_env.game import Game

BASE = [[0.1, -0.2, 0.3], [0.0, 0.5, -0.5], [0.2, 0.2, -0.1]]
START = {
    "attacker": [[0.4, -0.1, 0.0], [0.3, 0.1, -0.6], [-0.2, 0.6, 0.1]],
    "defender": [[-0.3, 0.2, 0.5], [0.1, -0.4, 0.2], [0.0, 0.1, 0.9]],
    "shared": [[0.2, 0.1, -0.4], [0.6, 0.0, 0.1], [-0.1, 0.3, 0.2]],
}
GAMES = {  # ids, drift of the stored log-probabilities from today's, reward
    "attacker": [
        ((0, 1), (0.3, -0.4), 1.5),
        ((2,), (0.05,), -0.5),
        ((1, 1, 0), (0.0, 0.1, 0.6), 0.25),
    ],
    "defender": [((2, 2), (-0.1, 0.2), -2.0), ((0, 1, 2), (0.0, -0.5, 0.02), 40.0)],
}
SPLIT = {"attacker": "attacker", "defender": "defender"}
SHARED = {"attacker": "shared", "defender": "shared"}


def make_policy(weights) -> TablePolicy:
    return TablePolicy(weights, {"base": BASE, **{n: START[n] for n in set(weights.values())}})


def make_algorithm(policy, **options) -> ReinforcePP:
    return ReinforcePP(ReinforcePPConfig(**options), policy=policy, game=Game(), seed=0)


def stored(weights):
    """The games with stored log-probabilities: today's, each moved by its drift."""
    result = {}
    for role, games in GAMES.items():
        table = START[weights[role]]
        result[role] = [
            (
                ids,
                [
                    ref.log_softmax(table[t])[i] + d
                    for t, (i, d) in enumerate(zip(ids, drift, strict=True))
                ],
                reward,
            )
            for ids, drift, reward in games
        ]
    return result


def role_returns(games, config):
    result = {}
    for role, rows in games.items():
        beta = config.of_role("kl", role)
        result[role] = [
            ref.returns(
                old,
                [ref.log_softmax(BASE[t])[i] for t, i in enumerate(ids)],
                reward,
                beta,
                config.reward_clip,
            )
            for ids, old, reward in rows
        ]
    return result


def advantages(games, config, ema=None):
    """``(ids, stored log-probabilities, advantages)`` of every game of each role."""
    found = role_returns(games, config)
    flat = {role: [x for row in rows for x in row] for role, rows in found.items()}
    result = {}
    for role, rows in found.items():
        centre, spread = ref.baseline_and_scale(role, flat, config.baseline, ema or {})
        result[role] = [
            (ids, old, [(x - centre) / spread for x in row])
            for (ids, old, _), row in zip(games[role], rows, strict=True)
        ]
    return result


def batches(games):
    return {role: role_batch(role, rows) for role, rows in games.items()}


def close(rows):
    return [pytest.approx(row, abs=1e-9) for row in rows]


@pytest.mark.parametrize("baseline", ["none", "batch", "role", "ema"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_bipolicy_steps_equal_the_reference(baseline, epochs):
    config = ReinforcePPConfig(
        lr=0.1,
        attacker_lr=0.03,
        kl=0.2,
        defender_kl=0.7,
        baseline=baseline,
        epochs=epochs,
        clip=0.2,
    )
    policy = make_policy(SPLIT)
    algorithm = ReinforcePP(config, policy=policy, game=Game(), seed=0)
    games = stored(SPLIT)
    metrics = algorithm.update(policy, batches(games))
    for role, samples in advantages(games, config).items():
        table, adam, losses, norms = START[role], ref.Adam(), [], []
        for _ in range(epochs):
            loss, slopes = ref.gradient(table, samples, config.clip)
            table, norm = adam.step(table, slopes, config.of_role("lr", role))
            losses.append(loss)
            norms.append(norm)
        assert policy.rows(role) == close(table)
        assert metrics[f"{role}/loss"] == pytest.approx(sum(losses) / epochs)
        assert metrics[f"{role}/grad_norm"] == pytest.approx(sum(norms) / epochs)
        moments = algorithm.state().tensors
        assert moments[f"{role}/0/exp_avg"].tolist() == close(adam.first)
        assert moments[f"{role}/0/exp_avg_sq"].tolist() == close(adam.second)
    assert policy.versions == {"base": 0, "attacker": 1, "defender": 1}
    assert policy.rows("base") == BASE


def test_shared_weights_take_one_step_on_the_tokens_of_both_roles():
    config = ReinforcePPConfig(lr=0.1, kl=0.2)
    policy = make_policy(SHARED)
    games = stored(SHARED)
    ReinforcePP(config, policy=policy, game=Game(), seed=0).update(policy, batches(games))
    both = [x for rows in advantages(games, config).values() for x in rows]
    table, _ = ref.Adam().step(START["shared"], ref.gradient(START["shared"], both, 0.2)[1], 0.1)
    assert policy.rows("shared") == close(table)
    assert policy.versions["shared"] == 1


@pytest.mark.parametrize("rates", [(0.1, 0.02), (0.0, 0.1), (0.1, 0.0)])
def test_shared_weights_with_two_learning_rates_take_a_step_for_each_role(rates):
    lr = dict(zip(("attacker", "defender"), rates, strict=True))
    config = ReinforcePPConfig(attacker_lr=rates[0], defender_lr=rates[1], kl=0.2)
    policy = make_policy(SHARED)
    games = stored(SHARED)
    metrics = ReinforcePP(config, policy=policy, game=Game(), seed=0).update(policy, batches(games))
    samples = advantages(games, config)
    ways = []
    for order in itertools.permutations(samples):
        table, adam = START["shared"], ref.Adam()
        for role in order:
            table, _ = adam.step(table, ref.gradient(table, samples[role], 0.2)[1], lr[role])
        ways.append(table)
    got = policy.rows("shared")
    assert any(got == close(table) for table in ways)
    assert {role: metrics[f"{role}/lr"] for role in lr} == lr


def test_a_running_mean_is_subtracted_before_it_is_updated():
    config = ReinforcePPConfig(lr=1e-9, kl=0.2, baseline="ema")
    policy = make_policy(SPLIT)
    algorithm = ReinforcePP(config, policy=policy, game=Game(), seed=0)
    games = stored(SPLIT)
    ema: dict[str, float] = {}
    for _ in range(3):
        metrics = algorithm.update(policy, batches(games))
        for role, rows in role_returns(games, config).items():
            assert metrics[f"{role}/baseline"] == pytest.approx(ema.get(role, 0.0))
            flat = [x for row in rows for x in row]
            ema[role] = EMA_DECAY * ema.get(role, 0.0) + (1 - EMA_DECAY) * sum(flat) / len(flat)
    assert algorithm.state().values["ema"] == pytest.approx(ema)


def test_what_is_logged_beside_the_loss_equals_the_reference():
    config = ReinforcePPConfig(lr=1e-9, kl=0.2, defender_kl=0.5)
    policy = make_policy(SPLIT)
    games = stored(SPLIT)
    metrics = ReinforcePP(config, policy=policy, game=Game(), seed=0).update(policy, batches(games))
    for role, rows in advantages(games, config).items():
        drifts = [-d for _, drift, _ in GAMES[role] for d in drift]
        ratios = [math.exp(d) for d in drifts]
        kl = [
            o - ref.log_softmax(BASE[t])[i]
            for ids, old, _ in games[role]
            for t, (i, o) in enumerate(zip(ids, old, strict=True))
        ]
        flat = [a for _, _, row in rows for a in row]
        n = len(drifts)
        assert metrics[f"{role}/kl"] == pytest.approx(sum(kl) / n)
        assert metrics[f"{role}/ratio"] == pytest.approx(sum(ratios) / n)
        outside = sum(abs(r - 1) > 0.2 for r in ratios) / n
        assert 0 < outside < 1
        assert metrics[f"{role}/clip_fraction"] == pytest.approx(outside)
        assert metrics[f"{role}/logprob_gap"] == pytest.approx(sum(map(abs, drifts)) / n)
        assert metrics[f"{role}/advantage"] == pytest.approx(sum(flat) / n, abs=1e-9)
        assert metrics[f"{role}/advantage_abs"] == pytest.approx(sum(map(abs, flat)) / n)
        entropies = [
            -sum(x * math.exp(x) for x in ref.log_softmax(START[role][t]))
            for ids, _, _ in games[role]
            for t in range(len(ids))
        ]
        assert metrics[f"{role}/entropy"] == pytest.approx(sum(entropies) / n)


@pytest.mark.parametrize("coefficient", [1.0, 0.25])
def test_the_supervised_term_is_added_to_the_defenders_gradient_only(tmp_path, coefficient):
    file = tmp_path / "examples.jsonl"
    responses = ["ab", "c", "bca"]
    file.write_text("".join(f"{json.dumps({'prompt': 'p', 'response': r})}\n" for r in responses))
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(
        policy, lr=0.1, kl=0.2, sft_file=str(file), sft_coefficient=coefficient, micro_batch=2
    )
    games = stored(SPLIT)
    metrics = algorithm.update(policy, batches(games))
    examples = [tuple(LETTERS.index(letter) for letter in r) for r in responses]
    for role, samples in advantages(games, ReinforcePPConfig(kl=0.2)).items():
        slopes = ref.gradient(START[role], samples, 0.2)[1]
        if role == "defender":
            loss, extra = ref.likelihood_gradient(START[role], examples)
            slopes = ref.add(slopes, extra, coefficient)
            assert metrics["defender/sft_loss"] == pytest.approx(loss)
        assert policy.rows(role) == close(ref.Adam().step(START[role], slopes, 0.1)[0])
    assert "attacker/sft_loss" not in metrics


def test_warm_up_raises_the_learning_rate_linearly():
    policy = make_policy(SPLIT)
    algorithm = make_algorithm(policy, lr=0.4, warmup_steps=4)
    rates = [algorithm.update(policy, batches(stored(SPLIT)))["attacker/lr"] for _ in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
