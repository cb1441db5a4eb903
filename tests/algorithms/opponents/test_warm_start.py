"""Training starts from given weights: a run, a checkpoint, an adapter; what does not fit is refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_tiny

from agents.lora.policy import lora
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.game import RedteamError


@pytest.fixture
def config(tiny_options, tmp_path):
    def make(**more):
        options = {**tiny_options, "steps": 1, "out": str(tmp_path / "next"), **more}
        return TrainConfig.from_flat(options)

    return make


@pytest.fixture
def adapters(two_steps):
    return two_steps / "checkpoints" / "step-000002" / "policy"


def tensors(directory):
    return load_file(directory / "adapter_model.safetensors")


def held(policy, name):
    found = {}
    policy.store.save(name, directory := policy.test_folder / name)
    found.update(tensors(directory))
    return found


def start(config, tmp_path, place):
    policy = lora(config.policy, seed=9)
    policy.test_folder = tmp_path / "held"
    policy.start_from(place)
    return policy


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize(
    "place", [".", "checkpoints/step-000002", "checkpoints/step-000002/policy"]
)
def test_each_role_takes_its_own_weights_of_a_run(config, two_steps, adapters, tmp_path, place):
    policy = start(config(), tmp_path, two_steps / place)
    for name in ("attacker", "defender"):
        assert same(held(policy, name), tensors(adapters / name))
        assert policy.version(name) == 1


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared", "attacker_only"])
def test_an_adapter_is_the_start_of_all_trained_weights(config, adapters, tmp_path, arrangement):
    policy = start(config(arrangement=arrangement), tmp_path, adapters / "defender")
    for name in policy.names:
        assert same(held(policy, name), tensors(adapters / "defender"))


def test_a_warm_started_run_goes_on_from_there_and_resumes_as_itself(
    config, two_steps, adapters, tmp_path
):
    fresh = train(config(out=str(tmp_path / "fresh"))).directory
    warm = train(config(init_from=str(two_steps))).directory
    place = "checkpoints/step-000001/policy/attacker"
    before, after = tensors(adapters / "attacker"), tensors(warm / place)
    moved = max(float((after[k] - before[k]).abs().max()) for k in before)
    assert 0 < moved < 0.1
    assert not same(after, tensors(fresh / place))
    train(config(init_from=str(two_steps), steps=2, resume=True))
    train(config(init_from=str(two_steps), steps=2, out=str(tmp_path / "long")))
    name = "checkpoints/step-000002/policy/attacker"
    assert same(tensors(warm / name), tensors(tmp_path / "long" / name))


def test_a_frozen_version_of_a_league_is_a_start_and_an_opponent(tiny_options, config, tmp_path):
    league = {**tiny_options, "opponents": "fictitious", "snapshot_every": 1}
    run = train(TrainConfig.from_flat({**league, "out": str(tmp_path / "league")})).directory
    version = str(run / "opponents" / "attacker@1")
    outcome = train(config(arrangement="attacker_only", init_from=version, rewrite_fraction=1.0))
    assert outcome.finished
    outcome = train(
        config(arrangement="defender_only", opponent=version, out=str(tmp_path / "defender"))
    )
    assert outcome.finished


@pytest.mark.parametrize(
    ("options", "source", "named"),
    [
        ({"rank": 8}, "attacker", "r: 4 there, 8 here"),
        ({"alpha": 4}, "attacker", "lora_alpha: 8 there, 4 here"),
        ({"arrangement": "shared"}, "", "one for both"),
        ({"arrangement": "independent"}, "", "Whole models start from whole models"),
        ({"targets": "q_proj"}, "attacker", "do not fit"),
    ],
)
def test_weights_of_another_shape_are_refused(config, adapters, options, source, named):
    with pytest.raises(RedteamError, match=named):
        train(config(init_from=str(adapters / source), **options))


def test_weights_of_another_base_are_refused(config, adapters, tmp_path):
    other = save_tiny(tmp_path / "other", seed=7)
    with pytest.raises(RedteamError, match="another base"):
        train(config(init_from=str(adapters / "attacker"), model=str(other)))


def test_a_place_without_weights_or_with_altered_ones_is_refused(config, two_steps, tmp_path):
    with pytest.raises(RedteamError, match="no weights to start from"):
        train(config(init_from=str(tmp_path)))
    with pytest.raises(RedteamError, match="no directory"):
        train(config(init_from=str(tmp_path / "missing")))
    copy = shutil.copytree(two_steps, tmp_path / "copy")
    file = copy / "checkpoints/step-000002/policy/attacker/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RedteamError, match="altered"):
        train(config(init_from=str(copy)))


def test_a_run_that_trained_one_seat_cannot_start_both(tiny_options, config, tmp_path):
    options = {**tiny_options, "steps": 1, "arrangement": "defender_only"}
    run = train(TrainConfig.from_flat({**options, "out": str(tmp_path / "one")})).directory
    with pytest.raises(RedteamError, match="no trained weights for the attacker"):
        train(config(init_from=str(run)))
