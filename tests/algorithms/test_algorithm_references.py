"""Every algorithm's loss, gradient and baseline against the plain reference, on games in groups."""

from dataclasses import replace

import algorithm_references as ref
import numpy as np
import pytest
import torch
from reinforce_reference import add
from table_game import ValuedTablePlayers
from table_policy import generation
from test_reinforce_pp_reference import BASE, START

from redteam_env.game import Game, Seed, Verdict
from redteam_env.protocols import Batch
from redteam_env.registry import load

GAMES = {  # ids, drift of the stored log-probabilities from today's, reward, group, game
    "attacker": [
        ((0, 1), (0.3, -0.4), 1.5, 7, 0),
        ((2,), (0.05,), -0.5, 7, 1),
        ((1, 1, 0), (0.0, 0.1, -0.9), 0.25, 7, 2),
        ((0,), (-0.02,), -1.0, 9, 3),  # a game of two turns
        ((2, 0), (0.1, 0.3), -1.0, 9, 3),
        ((1, 2, 2), (0.0, -0.1, 0.0), 40.0, 9, 4),
    ],
    "defender": [
        ((2, 2), (-0.1, 0.2), -2.0, 7, 0),
        ((0, 1, 2), (0.0, -0.5, 0.02), 1.0, 7, 1),
        ((1,), (-0.9,), 0.5, 9, 3),  # alone in its group: the other game is void
    ],
}
KL = {"attacker": 0.2, "defender": 0.7}
VALUES = {"attacker": [0.3, -0.2, 0.5], "defender": [-0.4, 0.1, 0.0]}
CONFIDENCE = {"attacker": [0.9, 0.2, -0.1, 1.0, 1.0, 0.4], "defender": [0.5, 0.3, 0.8]}
LAM, LENGTH = 0.7, 16.0
VALUED = ("ppo", "mappo")


def turns(role):
    result = []
    for ids, drift, reward, group, game in GAMES[role]:
        own = ref.logprobs(START[role], ids)
        stored = [x + d for x, d in zip(own, drift, strict=True)]
        result.append(ref.Turn(ids, stored, reward, group, game))
    return result


def episode(role, game, reward, confidence):
    """A game whose verdict is sure of what pays to this degree."""
    generated = generation((0,), (0.0,))
    played = Game().start(Seed(id=str(game), text="x", harmful=True), rewritten=True)
    for _ in range(2):
        played = Game().apply(played, "x", generation=generated)
    verdict = Verdict(
        prompt_harmful=True,
        response_refusal=False,
        response_harmful=True,
        probabilities={"response_harmful": (1 + confidence) / 2},
    )
    found = Game().finish(played, verdict, path=(0, "game", game))
    return replace(found, components={f"{role}_0": {"harm": reward}})


def batch(role, stored=None):
    """The role's rows; log-probabilities of the sampler's as in the table, or as given."""
    rows = turns(role)
    numbers = {game: k for k, game in enumerate(dict.fromkeys(turn.game for turn in rows))}
    first = {turn.game: k for k, turn in reversed(list(enumerate(rows)))}
    episodes = [
        episode(role, game, rows[k].reward, CONFIDENCE[role][k])
        for game, k in sorted(first.items(), key=lambda x: numbers[x[0]])
    ]
    seat = f"{role}_0"
    return Batch.of(
        role,
        [generation(turn.ids, turn.stored if stored is None else stored(turn)) for turn in rows],
        [turn.reward for turn in rows],
        games=[numbers[turn.game] for turn in rows],
        groups=[turn.group for turn in rows],
        turns=[next(x for x in episodes[0].turns if x.seat == seat)] * len(rows),
        episodes=episodes,
    )


def expected(name, step, role):
    """The loss as a function of the table."""
    if name in {"reinforce", "rae"}:
        advantages = getattr(ref, name)(step)
        return lambda table: ref.score_loss(step, advantages, table, per="token")
    if name == "rloo":
        return lambda table: ref.score_loss(step, ref.rloo(step), table, per="sample")
    if name == "grpo":
        scaled = ref.centred(step, scaled=True)
        return lambda table: ref.clipped_loss(step, scaled, table, per="mean", k3=step.beta)
    if name == "dr_grpo":
        plain = ref.centred(step, scaled=False)
        return lambda table: (
            ref.clipped_loss(step, plain, table, per="sample", k3=step.beta) / LENGTH
        )
    if name in VALUED:
        rows = ref.standardised(ref.gae(step, VALUES[role], LAM)[0])
        return lambda table: ref.clipped_loss(step, rows, table, per="token")
    kind, _, how = name.partition(" ")
    scores = {
        turn.game: max(-10, min(10, turn.reward * (c if how else 1)))
        for turn, c in zip(turns(role), CONFIDENCE[role], strict=True)
    }
    return lambda table: ref.preference_loss(step, table, kind=kind, scores=scores, soft=bool(how))


def settings(name):
    own = {
        "dr_grpo": {"length_norm": LENGTH},
        **{critic: {"gae_lambda": LAM, "value_epochs": 1} for critic in VALUED},
        "dpo": {"pair_loss": "dpo"},
        "ipo": {"pair_loss": "ipo"},
        "dpo judge": {"pair_loss": "dpo", "preference": "judge"},
        "ipo judge": {"pair_loss": "ipo", "preference": "judge"},
    }
    return {"attacker_kl": KL["attacker"], "defender_kl": KL["defender"], **own.get(name, {})}


PLAIN = ("reinforce", "rae", "rloo", "grpo", "dr_grpo", *VALUED)
PAIRED = ("dpo", "ipo", "dpo judge", "ipo judge")


def made(name, **more):
    """An algorithm with a table policy, set to leave its weights where they are."""
    factory = load("algorithms", "online_dpo" if name in PAIRED else name)
    policy = ValuedTablePlayers(
        {"attacker": "attacker", "defender": "defender"}, {**START, "base": BASE}
    )
    for role, values in VALUES.items():
        policy.heads[role].data.copy_(torch.tensor(values))
    options = {"lr": 1e-12, "max_grad_norm": 1e9, **settings(name), **more}
    algorithm = factory(factory.Config(**options), policy=policy, game=Game(), seed=0)
    return algorithm, policy


def close(rows, tolerance=1e-7):
    return [pytest.approx(row, abs=tolerance) for row in rows]


def gradient(algorithm, name):
    """Adam's first moment after one step is a tenth of the gradient."""
    return (algorithm.state().tensors[f"{name}/0/exp_avg"] * 10).tolist()


@pytest.mark.parametrize(
    ("name", "cap"),
    [(n, None) for n in (*PLAIN, *PAIRED)] + [(n, 1.2) for n in PLAIN],
)
def test_loss_and_gradient_equal_the_reference(name, cap):
    more = {} if cap is None else {"importance_cap": cap}
    algorithm, policy = made(name, **more)
    metrics = algorithm.update(policy, {role: batch(role) for role in GAMES})
    for role in GAMES:
        step = ref.Step(turns(role), START[role], BASE, KL[role], cap=cap)
        loss = expected(name, step, role)
        assert metrics[f"{role}/loss"] == pytest.approx(loss(START[role]))
        assert gradient(algorithm, role) == close(ref.slopes(loss, START[role]))


AVERAGES = {"rloo": "sample", "grpo": "mean", "dr_grpo": "sample"}


@pytest.mark.parametrize("name", [*PLAIN, "reinforce_pp"])
def test_an_entropy_bonus_is_averaged_as_the_loss_is_and_each_roles_own(name):
    bonuses = {"attacker": 0.3, "defender": 0.8}
    found = []
    for more in ({}, {"entropy_bonus": 0.3, "defender_entropy_bonus": 0.8}):
        algorithm, policy = made(name, **more)
        metrics = algorithm.update(policy, {role: batch(role) for role in GAMES})
        found.append({role: (metrics[f"{role}/loss"], gradient(algorithm, role)) for role in GAMES})
    for role, bonus in bonuses.items():
        step = ref.Step(turns(role), START[role], BASE, KL[role])
        share = bonus / (LENGTH if name == "dr_grpo" else 1.0)

        def term(table, step=step, share=share):
            return -share * ref.entropy(step, table, per=AVERAGES.get(name, "token"))

        (plain, slopes), (loss, both) = (one[role] for one in found)
        assert loss - plain == pytest.approx(term(START[role]))
        assert both == close(add(slopes, ref.slopes(term, START[role])))


@pytest.mark.parametrize("name", ["rloo", "grpo", "online_dpo"])
def test_the_size_of_passes_does_not_change_the_step(name):
    found = []
    for rows in (1, 2, 64):
        algorithm, policy = made("dpo" if name == "online_dpo" else name, micro_batch=rows)
        algorithm.update(policy, {role: batch(role) for role in GAMES})
        found.append([gradient(algorithm, role) for role in GAMES])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one == close(two, 1e-12)


@pytest.mark.parametrize("name", VALUED)
def test_a_value_head_steps_towards_the_returns(name):
    algorithm, policy = made(name)
    metrics = algorithm.update(policy, {role: batch(role) for role in GAMES})
    for role, values in VALUES.items():
        step = ref.Step(turns(role), START[role], BASE, KL[role])
        advantages, targets = ref.gae(step, values, LAM)

        def loss(table, targets=targets):
            return ref.value_loss(table[0], targets)

        (slope,) = ref.slopes(loss, [values])
        assert metrics[f"{role}/value_loss"] == pytest.approx(loss([values]))
        assert gradient(algorithm, f"value-{role}") == pytest.approx(slope, abs=1e-7)
        flat = [x for row in targets for x in row]
        spread = ref.mean([(x - ref.mean(flat)) ** 2 for x in flat])
        error = ref.mean([x**2 for row in advantages for x in row])
        assert metrics[f"{role}/value_explained"] == pytest.approx(1 - error / spread)


def test_baselines_of_rae_are_separate_and_go_on_from_step_to_step():
    algorithm, policy = made("rae")
    running = dict.fromkeys(GAMES, 0.0)
    for _ in range(3):
        algorithm.update(policy, {role: batch(role) for role in GAMES})
        for role in GAMES:
            step = ref.Step(turns(role), START[role], BASE, KL[role])
            for turn in step.games().values():
                running[role] = 0.95 * running[role] + 0.05 * step.paid(turn)
    assert algorithm.state().values["ema"] == pytest.approx(running)


def test_what_importance_sampling_did_is_logged():
    algorithm, policy = made("grpo", importance_cap=1.2)
    metrics = algorithm.update(policy, {role: batch(role) for role in GAMES})
    ratios = [ref.math.exp(-d) for _, drift, *_ in GAMES["attacker"] for d in drift]
    assert metrics["attacker/importance"] == pytest.approx(ref.mean(ratios))
    assert metrics["attacker/importance_capped"] == pytest.approx(
        ref.mean([x > 1.2 for x in ratios])
    )
    assert metrics["attacker/logprob_gap"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", PLAIN)
def test_logprobs_of_a_sampler_that_is_another_program_are_computed_anew_and_compared(name):
    algorithm, policy = made(name)
    policy.exact_sampler = False
    metrics = algorithm.update(policy, {role: batch(role) for role in GAMES})
    drifts = [d for _, drift, *_ in GAMES["attacker"] for d in drift]
    assert metrics["attacker/sampler_gap"] == pytest.approx(ref.mean([abs(d) for d in drifts]))
    ratios = [ref.math.exp(-d) for d in drifts]
    assert metrics["attacker/importance"] == pytest.approx(ref.mean(ratios))
    assert metrics["attacker/logprob_gap"] == pytest.approx(0.0, abs=1e-9)
    assert "attacker/importance_capped" not in metrics
    plain, policy = made(name)
    logged = plain.update(policy, {role: batch(role) for role in GAMES})
    assert "attacker/sampler_gap" not in logged
    assert logged["attacker/logprob_gap"] > 0.01


def test_importance_weights_do_nothing_where_sampler_and_trainer_agree():
    found = []
    for more in ({}, {"importance_cap": 2.0}):
        algorithm, policy = made("ppo", **more)
        agreed = {
            role: batch(role, lambda turn, role=role: ref.logprobs(START[role], turn.ids))
            for role in GAMES
        }
        algorithm.update(policy, agreed)
        found.append([gradient(algorithm, role) for role in GAMES])
    for one, two in zip(*found, strict=True):
        assert one == close(two, 1e-12)


def test_grpo_with_the_samples_deviation_has_advantages_as_trl_has_them():
    advantages = {}
    for kind in ("population", "sample"):
        algorithm, _ = made("grpo", deviation=kind)
        four = Batch.of(
            "attacker", [generation((0,), (0.0,))] * 4, [1.0, 0.0, 0.0, 2.0], groups=[0] * 4
        )
        zeros = np.zeros(four.mask.shape)
        four = four.with_(old=zeros, reference=zeros)
        advantages[kind] = algorithm.advantages({"attacker": four})["attacker"][:, 0]
    trl = torch.tensor([1.0, 0.0, 0.0, 2.0])
    trl = (trl - trl.mean()) / trl.std()
    assert advantages["sample"] == pytest.approx(trl.tolist(), rel=1e-6)
    assert advantages["population"] == pytest.approx((trl * (4 / 3) ** 0.5).tolist(), rel=1e-6)


@pytest.mark.parametrize("name", ["reinforce", "rae", "rloo"])
def test_an_algorithm_without_a_ratio_takes_one_optimiser_step_by_default(name):
    algorithm, policy = made(name)
    algorithm.update(policy, {role: batch(role) for role in GAMES})
    steps = {x: float(t) for x, t in algorithm.state().tensors.items() if x.endswith("/step")}
    assert set(steps.values()) == {1.0}


STANDARDISED = ("reinforce_pp", "grpo", *VALUED)


def sizes(name, batches, **more):
    """The mean size of each role's advantages."""
    algorithm, policy = made(name, **more)
    metrics = algorithm.update(policy, batches)
    return np.array([metrics[f"{role}/advantage_abs"] for role in batches])


@pytest.mark.parametrize("name", STANDARDISED)
def test_advantages_are_divided_by_the_floor_where_the_scale_is_below_it(name):
    batches = {role: batch(role) for role in GAMES}
    plain = sizes(name, batches)
    assert sizes(name, batches, scale_floor=1e-6) == pytest.approx(plain)
    low, high = (sizes(name, batches, scale_floor=floor) for floor in (50.0, 100.0))
    assert low == pytest.approx(2 * high)
    assert (low < plain / 10).all()


def test_with_a_floor_the_noise_of_the_penalty_is_no_advantage_of_full_size():
    equal = {role: batch(role).with_(rewards=np.full(len(GAMES[role]), -1.0)) for role in GAMES}
    noise = {"attacker_kl": 0.01, "defender_kl": 0.01}
    assert (sizes("reinforce_pp", equal, **noise) > 0.5).all()
    assert (sizes("reinforce_pp", equal, **noise, scale_floor=0.5) < 0.05).all()
