"""A judge's seat in training: weights of its own, another base, or a named player."""

import dataclasses
import json

import pytest
from tiny_models import save_tiny
from training_fakes import contents, metrics

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.game import JUDGE, RedteamError, parse_wildguard
from redteam_env.runs import Run

SEAT = {"judge_seat": True, "roles": "judge=judge"}


@pytest.fixture
def config(tiny_options, tmp_path):
    def make(**more):
        options = {**tiny_options, "out": str(tmp_path / "run"), **more}
        return TrainConfig.from_flat(options)

    return make


def adapters(run, step):
    folder = run / f"checkpoints/step-{step:06d}/policy"
    return {x.parent.name: x.read_bytes() for x in folder.glob("*/adapter_model.safetensors")}


def turns_of_the_judge(run):
    lines = [
        x for file in sorted((run / "episodes").glob("*")) for x in file.read_text().splitlines()
    ]
    games = [json.loads(line) for line in lines]
    return [turn for game in games for turn in game["turns"] if turn["seat"] == JUDGE]


def test_the_judge_learns_with_weights_of_its_own_and_resumes_to_the_same_bytes(config, tmp_path):
    whole = train(config(**SEAT)).directory
    first, second = adapters(whole, 1), adapters(whole, 2)
    assert set(second) == {"attacker", "defender", "judge"}
    assert all(first[name] != second[name] for name in second)
    rows = metrics(whole)
    assert all(row["judge/reward"] is not None for row in rows)
    assert {turn["generation"]["adapter"] for turn in turns_of_the_judge(whole)} == {"judge"}
    part = config(**SEAT, out=str(tmp_path / "part"))
    train(dataclasses.replace(part, run=dataclasses.replace(part.run, steps=1)))
    train(dataclasses.replace(part, run=dataclasses.replace(part.run, resume=True)))
    assert adapters(tmp_path / "part", 2) == second


def test_the_judge_may_play_on_a_base_of_its_own(config, tmp_path):
    other = save_tiny(tmp_path / "other", seed=1, scale=0.15)
    run = train(config(**SEAT, bases=f"judge:{other}")).directory
    card = json.loads((run / "checkpoints/step-000002/policy/policy.json").read_text())
    assert card["parts"] == {"attacker": "base-0", "defender": "base-0", "judge": "base-1"}
    described = Run(run).record()["policy"]
    assert set(described["bases"]) == {config().policy.model, str(other)}
    before = contents(run)
    train(config(**SEAT, bases=f"judge:{other}", resume=True))
    assert contents(run) == before


@pytest.mark.parametrize("options", [{"judge_player": "judge:lexical"}, {"roles": "judge=base"}])
def test_a_judge_that_does_not_learn_plays_beside_two_that_do(config, options):
    run = train(config(judge_seat=True, **options)).directory
    assert set(adapters(run, 2)) == {"attacker", "defender"}
    turns = turns_of_the_judge(run)
    assert turns
    if "judge_player" in options:
        assert all(parse_wildguard(turn["visible"]).error is None for turn in turns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judge_seat": True}, "Nobody would play"),
        ({**SEAT, "judge_player": "judge:lexical"}, "Two play"),
        ({"roles": "judge=judge"}, "no judge's seat"),
        ({"judge_player": "judge:lexical"}, "no judge's seat"),
        ({**SEAT, "opponents": "fictitious", "steps": 20}, "two trained seats"),
    ],
)
def test_a_seat_without_or_with_two_players_is_refused(config, options, message):
    with pytest.raises(RedteamError, match=message):
        config(**options)


def test_a_league_plays_beside_a_judge_that_does_not_learn(config):
    league = {"opponents": "fictitious", "steps": 4, "judge_player": "judge:lexical"}
    run = train(config(judge_seat=True, **league)).directory
    assert len(metrics(run)) == 4
