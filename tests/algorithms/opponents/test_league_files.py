"""Frozen versions on disk: kept as long as a checkpoint names them, checked when a run goes on."""

import json
import shutil

import pytest
from training_fakes import contents

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from algorithms.training.versions import Versions
from redteam_env.game import RedteamError


@pytest.fixture
def make(tiny_options, tmp_path):
    def options(**more):
        own = {"opponents": "fictitious", "snapshot_every": 1, "history": 2}
        return TrainConfig.from_flat(
            {**tiny_options, **own, "out": str(tmp_path / "run"), "steps": 3, **more}
        )

    return options


def named(run):
    """Versions that some checkpoint names."""
    files = run.glob("checkpoints/*/league.json")
    return {name for file in files for name in json.loads(file.read_text())["versions"]}


def test_exactly_the_versions_that_checkpoints_name_are_kept(make):
    run = train(make(steps=6, checkpoint_every=3, seed=1)).directory
    assert {x.name for x in (run / "opponents").iterdir()} == named(run)
    assert not list(run.glob("checkpoints/*/opponents"))


def test_a_version_is_no_copy_of_the_checkpoint_but_an_adapter_of_its_own(make):
    run = train(make()).directory
    for place in (run / "opponents").iterdir():
        assert {x.name for x in place.iterdir()} >= {"adapter_model.safetensors", "redteam.json"}
        card = json.loads((place / "redteam.json").read_text())
        assert f"{card['name']}@{card['version']}" == place.name


@pytest.mark.parametrize("damage", ["lacks", "altered"])
def test_a_damaged_opponent_is_named_and_nothing_is_touched(make, damage):
    run = train(make()).directory
    needed = json.loads((run / "checkpoints/step-000003/league.json").read_text())["versions"]
    name = max(needed)
    file = run / "opponents" / name / "adapter_model.safetensors"
    if damage == "lacks":
        shutil.rmtree(file.parent)
    else:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    before = contents(run, ".")
    with pytest.raises(RedteamError, match=rf"opponent '{name}' .*{damage}.*Restore"):
        train(make(steps=4, resume=True))
    assert contents(run, ".") == before


def test_a_checkpoint_without_its_league_is_refused(make):
    run = train(make()).directory
    folder = run / "checkpoints" / "step-000003"
    (folder / "league.json").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["league.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RedteamError, match=r"no league\.json"):
        train(make(steps=4, resume=True))


def test_another_sampler_in_a_resumed_run_is_refused(make):
    train(make())
    config = make(steps=4, resume=True, history=3)
    with pytest.raises(RedteamError, match="history: 2 there, 3 now"):
        train(config)


def test_versions_are_written_whole_or_not_at_all(tmp_path):
    versions = Versions(tmp_path / "opponents")

    def fail(place):
        place.mkdir()
        (place / "half").write_text("x")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        versions.add("attacker@1", fail)
    assert not (tmp_path / "opponents" / "attacker@1").exists()
    with pytest.raises(RedteamError, match="'attacker@1', which is not frozen"):
        versions.place("attacker@1")


def test_a_version_is_written_once(tmp_path):
    versions = Versions(tmp_path)
    calls = []

    def write(place):
        calls.append(place)
        place.mkdir()
        (place / "weights").write_text(str(len(calls)))

    versions.add("a@1", write)
    versions.add("a@1", write)
    assert (tmp_path / "a@1" / "weights").read_text() == "1"
    versions.drop("a@1")
    versions.tidy(["a@1"])
    assert (tmp_path / "a@1").exists()
    versions.tidy([])
    assert not (tmp_path / "a@1").exists()
