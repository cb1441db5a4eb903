"""The seat that a one-sided run does not train can be played by a frozen opponent."""

import json
import shutil

import pytest
from training_fakes import contents, metrics

from agents.lora.config import WEIGHTS
from agents.lora.policy import lora
from algorithms.training.trainer import train
from redteam_env.game import RedteamError

ONE_SIDED = {"attacker_only": "defender", "defender_only": "attacker"}
BOTH = sorted(set(WEIGHTS) - set(ONE_SIDED))


@pytest.fixture
def opponent(finished, tmp_path):
    """A copy of a finished run of both roles that has moved away from the base."""
    return shutil.copytree(finished(lr=5e-2, seed=5), tmp_path / "opponent")


def turns(run, role):
    """The turns of a role in all games of a run."""
    lines = [
        line
        for file in sorted((run / "episodes").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    every = [turn for line in lines for turn in json.loads(line)["turns"]]
    return [x for x in every if x["seat"] == f"{role}_0"]


def weights(policy):
    return {
        name: [x.detach().clone() for x in policy.parameters(name)]
        for name in policy.names
        if name != "base"
    }


def same(one, other):
    return all(
        bool((a == b).all()) for name in one for a, b in zip(one[name], other[name], strict=True)
    )


@pytest.mark.parametrize(("arrangement", "frozen"), ONE_SIDED.items())
def test_a_run_plays_the_frozen_seat_with_its_last_weights_which_do_not_change(
    tiny_config, tmp_path, opponent, arrangement, frozen
):
    before = contents(opponent, ".")
    trained = next(role for role in ("attacker", "defender") if role != frozen)
    config = tiny_config(arrangement=arrangement, opponent=str(opponent))
    policy = lora(config.policy, seed=0)
    start = weights(policy)
    assert set(start) == {trained}
    assert train(config, policy=policy).finished
    assert not same(start, weights(policy))
    assert contents(opponent, ".") == before
    played = {x["generation"]["adapter"] for x in turns(tmp_path / "run", frozen)}
    assert played not in (set(), {"base"})
    assert {x["generation"]["adapter"] for x in turns(tmp_path / "run", trained)} == {trained}
    assert {x["generation"]["temperature"] for x in turns(tmp_path / "run", frozen)} == {1.0}
    names = set(metrics(tmp_path / "run")[0])
    assert f"{trained}/kl" in names
    assert f"{frozen}/kl" not in names


def test_the_opponent_makes_a_difference_and_the_base_is_the_default(
    tiny_config, tmp_path, opponent
):
    said = {}
    for name, spec in (("none", None), ("base", "base"), ("run", str(opponent))):
        options = {"opponent": spec, "out": str(tmp_path / name), "steps": 1, "games": 4}
        train(tiny_config(arrangement="attacker_only", **options))
        said[name] = [x["text"] for x in turns(tmp_path / name, "defender")]
    assert said["none"] == said["base"]
    assert said["run"] != said["base"]


@pytest.mark.parametrize(
    ("arrangement", "frozen", "agent"),
    [
        ("attacker_only", "defender", "refuse"),
        ("attacker_only", "defender", "echo"),
        ("defender_only", "attacker", "template"),
    ],
)
def test_a_registered_agent_is_an_opponent(tiny_config, tmp_path, arrangement, frozen, agent):
    assert train(tiny_config(arrangement=arrangement, opponent=agent, steps=1)).finished
    found = turns(tmp_path / "run", frozen)
    assert found
    assert {x["generation"] for x in found} == {None}
    if agent == "refuse":
        assert {x["text"] for x in found} == {"I'm sorry, but I can't help with that."}


def test_a_checkpoint_is_an_opponent(tiny_config, tmp_path, opponent):
    spec = str(opponent / "checkpoints" / "step-000001")
    assert train(tiny_config(arrangement="attacker_only", opponent=spec, steps=1)).finished


def test_a_run_with_an_opponent_that_was_cut_goes_on_bit_for_bit(tiny_config, tmp_path, opponent):
    options = {"arrangement": "attacker_only", "opponent": str(opponent)}
    whole = tmp_path / "whole"
    train(tiny_config(**options, out=str(whole)))
    train(tiny_config(**options, steps=1))
    train(tiny_config(**options, resume=True))
    for name in ("checkpoints/step-000002", "episodes"):
        assert contents(tmp_path / "run", name) == contents(whole, name)
    with pytest.raises(RedteamError, match=r"opponent: '.*opponent' there, 'refuse' now"):
        train(tiny_config(**{**options, "opponent": "refuse"}, steps=3, resume=True))


@pytest.mark.parametrize("arrangement", BOTH)
def test_an_arrangement_that_trains_both_seats_refuses_an_opponent(tiny_config, arrangement):
    with pytest.raises(RedteamError, match=rf"'refuse'.*{arrangement} trains both.*attacker_only"):
        tiny_config(arrangement=arrangement, opponent="refuse")


@pytest.mark.parametrize(
    ("spec", "message"),
    [("nobody", r"'nobody'.*refuse"), ("", r"''.*refuse"), ("./no/run", "no/run")],
)
def test_an_opponent_that_there_is_not_is_an_error_before_anything_is_written(
    tiny_config, tmp_path, spec, message
):
    with pytest.raises(RedteamError, match=message):
        train(tiny_config(arrangement="attacker_only", opponent=spec))
    assert not (tmp_path / "run").exists()


def test_an_altered_opponent_is_an_error_that_names_the_file(tiny_config, tmp_path, opponent):
    last = opponent / "checkpoints" / "step-000002"
    file = next(x for x in last.rglob("*.safetensors") if "defender" in str(x))
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(RedteamError, match=file.name):
        train(tiny_config(arrangement="attacker_only", opponent=str(opponent)))
    assert not (tmp_path / "run").exists()
