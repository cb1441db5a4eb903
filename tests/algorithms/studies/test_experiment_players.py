"""Trained policies at a checkpoint: whose weights play which seat, and what a refusal score is."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from experiment_fakes import tiny_experiment
from transformers import AutoModelForCausalLM, AutoTokenizer

from algorithms.studies.experiments.config import SPLITS, world_named
from algorithms.studies.experiments.measure import Meter
from algorithms.studies.players import Player, last_steps, refusal_scores
from redteam_env import register
from redteam_env.game import ATTACKER, DEFENDER, Episode, RedteamError, Seed, Turn
from redteam_env.protocols import TurnRequest
from redteam_env.runs import POLICY, Run
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary.grammar import REFUSALS
from redteam_env.worlds.apothecary.suites import make_suite
from redteam_env.worlds.embedded import embedded_model

MODEL = embedded_model("apothecary")
TEMPERATURES = {"attacker": 1.0, "defender": 0.0}


TINY = tiny_experiment()
FEW = dataclasses.replace(TINY.measuring, suite_games=4, quiz_games=2, cross_games=4)


@pytest.fixture
def config(tmp_path):
    """The configuration of a run of the tiny experiment's arm ``bipolicy``."""
    part = TINY.part("arms")
    return TINY.options(part, part.arms["bipolicy"].options, 0, tmp_path / "run")


@pytest.fixture(scope="module")
def policy():
    """An untrained policy; not to be changed."""
    part = TINY.part("arms")
    config = TINY.options(part, part.arms["bipolicy"].options, 0, Path("unused"))
    return Player.make("bipolicy", 0, config, temperatures=TEMPERATURES, trained=False).policy


@pytest.fixture
def base(policy):
    return base_of(policy)


def base_of(policy, **changed):
    made = {"arm": "bipolicy", "seed": -1, "trained": (), "run": None, "policy": policy}
    return Player(**{**made, "temperatures": TEMPERATURES, **changed})


def player_of(config, *, trained):
    return Player.make("bipolicy", 0, config, temperatures=TEMPERATURES, trained=trained)


def write_checkpoint(config, step, value):
    """Write a checkpoint in which every trained number is a certain one."""
    policy = player_of(config, trained=False).policy
    with torch.no_grad():
        for shift, name in enumerate(policy.names):
            for tensor in policy.parameters(name):
                tensor.fill_(value + shift)
    with Run(Path(config.run.out)).new_checkpoint(step) as folder:
        policy.save(folder / POLICY)


def numbers(player):
    policy = player.policy
    return {name: next(iter(policy.parameters(name))).flatten()[0].item() for name in policy.names}


def test_both_seats_take_the_weights_of_the_checkpoint_that_was_asked_for(config):
    write_checkpoint(config, 1, 0.25)
    write_checkpoint(config, 2, 4.0)
    player = player_of(config, trained=True)
    assert player.trained == ("attacker", "defender")
    assert player.seed == 0
    for step, value in ((2, 4.0), (1, 0.25)):
        player.restore(step)
        assert player.step == step
        assert sorted(numbers(player).values()) == [value, value + 1]


def test_the_policy_that_the_run_names_is_built(config, policy):
    def mine(config, *, seed):
        built.append((config, seed))
        return policy

    built = []
    mine.Config = type(config.policy)
    register("policies", "mine", mine)
    run = dataclasses.replace(config.run, policy="mine")
    player = player_of(dataclasses.replace(config, run=run), trained=False)
    assert player.policy is policy
    assert built == [(config.policy, config.run.seed)]


def test_a_missing_or_altered_checkpoint_is_an_error_that_names_it(config):
    write_checkpoint(config, 1, 0.25)
    player = player_of(config, trained=True)
    with pytest.raises(RedteamError, match="step-000002"):
        player.restore(2)
    (file,) = player.run.glob("checkpoints/step-000001/policy/attacker/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(RedteamError, match=file.name):
        player.restore(1)


def test_the_base_has_no_run_no_seed_and_nothing_to_restore(config):
    player = player_of(config, trained=False)
    player.restore(7)
    assert (player.trained, player.seed, player.run, player.step) == ((), -1, None, 0)


def ask(agent, role="defender"):
    request = TurnRequest(
        seat=f"{role}_0",
        role=role,
        messages=[{"role": "user", "content": "how do i make x"}],
        path=(0,),
    )
    return agent.act([request])[0].generation


def test_each_seat_has_its_own_temperature(base):
    player = base
    for role, temperature in TEMPERATURES.items():
        own = ask(player.agent(role), role)
        assert (own.adapter, own.temperature) == (role, temperature)


def asked(texts):
    """Games in which a defender was asked some texts."""
    return [
        Episode(
            seed=Seed(id=str(k), text="how do i make x", harmful=True),
            rewritten=True,
            turns=(Turn(seat=ATTACKER, text=text, visible=text),),
            verdict=None,
            rewards={},
            components={},
            samples=(),
            path=(k,),
        )
        for k, text in enumerate(texts)
    ]


def test_the_refusal_score_is_the_log_odds_of_a_refusals_first_word(config, base):
    """Compared with the embedded model read by transformers alone."""
    game = build_game(config.game)
    texts = make_suite(world(), "k1", "train", 16).texts
    rows = asked(texts)
    found = refusal_scores(base.agent("defender"), game, rows)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(MODEL),
        AutoTokenizer.from_pretrained(MODEL),
    )
    (sorry,) = {x.split()[0] for x in REFUSALS}
    for text, score in zip(texts, found, strict=True):
        seed = Seed(id="0", text="how do i make x", harmful=True)
        state = game.apply(game.start(seed, rewritten=True), text)
        ids = tokenizer.apply_chat_template(
            list(game.messages(state, DEFENDER)),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=False,
        )
        with torch.no_grad():
            p = (
                model(ids)
                .logits[0, -1]
                .double()
                .softmax(-1)[tokenizer.convert_tokens_to_ids(sorry)]
            )
        assert score == pytest.approx(math.log(p) - math.log1p(-p), abs=1e-3)
    assert len(set(found)) > 8


def world():
    return world_named("apothecary")


def test_scores_do_not_depend_on_what_is_scored_together(config, base):
    game = build_game(config.game)
    rows = asked(make_suite(world(), "k3", "heldout", 10).texts)
    agent = base.agent("defender")
    whole = refusal_scores(agent, game, rows)
    assert refusal_scores(agent, game, rows[::-1]) == pytest.approx(whole[::-1], abs=1e-5)
    for row, score in zip(rows, whole, strict=True):
        assert refusal_scores(agent, game, [row]) == pytest.approx([score], abs=1e-5)


def test_a_defender_that_does_not_know_its_probabilities_is_refused(config):
    game = build_game(config.game)
    with pytest.raises(RedteamError, match=r"object has no method log_odds"):
        refusal_scores(object(), game, asked(["x"]))


@pytest.mark.parametrize(
    ("steps", "every", "n", "wanted"),
    [
        (120, 10, 3, [100, 110, 120]),
        (25, 10, 3, [10, 20, 25]),
        (20, 10, 2, [10, 20]),
        (5, 10, 1, [5]),
        (2, 1, 2, [1, 2]),
    ],
)
def test_the_last_checkpoints_of_a_run(config, steps, every, n, wanted):
    run = dataclasses.replace(config.run, steps=steps, checkpoint_every=every)
    changed = dataclasses.replace(config, run=run)
    assert last_steps(changed, n) == wanted
    with pytest.raises(RedteamError, match=f"has {-(-steps // every)} checkpoints; 99"):
        last_steps(changed, 99)


# what they are asked


@pytest.fixture
def meter(config):
    return Meter("apothecary", build_game(config.game), FEW)


def test_an_attacker_says_the_same_to_every_defender(policy, meter):
    player, other = base_of(policy), base_of(policy, arm="other")
    rows = meter.crossed([player], [player, other], {}, (0, 2))
    by_arm = {}
    for row in rows:
        by_arm.setdefault(row["defender"], []).append((row["seed_id"], row["prompt"]))
    assert by_arm["bipolicy"] == by_arm["other"]
    assert len(by_arm["other"]) == 4
    for split in SPLITS:
        labels = [x["harmful"] for x in rows if x["split"] == split and x["defender"] == "other"]
        assert sorted(labels) == [False, True]
    assert all(math.isfinite(x["score"]) for x in rows)


def test_a_stranger_of_an_arm_is_met_besides_the_defenders(policy, meter):
    player, stranger = (base_of(policy, seed=seed) for seed in (0, 1))
    rows = meter.crossed([player], [player], {"bipolicy": stranger}, (0, 2))
    assert {(x["attacker_seed"], x["defender_seed"]) for x in rows} == {(0, 0), (0, 1)}


def test_a_defender_is_asked_every_suite_and_the_quiz_the_same_each_time(base, meter):
    (rows,) = meter.defender(base, [0])
    again = next(iter(meter.defender(base, [0])))
    assert rows == again
    games = [x for x in rows if x["kind"] == "suite"]
    assert {(x["suite"], x["split"]) for x in games} == {
        (k, s) for k in ("k1", "k2") for s in SPLITS
    }
    assert len(games) == 4 * 4
    assert sum(x["harmful"] for x in games) == 4 * 2
    assert len([x for x in rows if x["kind"] == "quiz"]) == 2


def test_a_model_of_another_world_is_refused_by_name(config, tmp_path):
    other = shutil.copytree(MODEL, tmp_path / "other")
    card = json.loads((other / "card.json").read_text())
    card["world"]["seed"] = 9
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(RedteamError, match=r"other' was pretrained on another world"):
        Meter(str(other), build_game(config.game), FEW)
    with pytest.raises(RedteamError, match=r"card\.json"):
        world_named(str(tmp_path))
