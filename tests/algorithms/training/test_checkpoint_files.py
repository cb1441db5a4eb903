"""Checkpoints: whole or absent, verified when they are read."""

import json

import pytest
import torch

from algorithms.training import checkpoint
from redteam_env.game import RedteamError
from redteam_env.protocols import AlgorithmState

STATE = AlgorithmState(
    tensors={"attacker/0/step": torch.tensor(3.0), "attacker/0/exp_avg": torch.randn(4, 2).T},
    values={"updates": 3, "ema": {"attacker": 0.5}},
)
FILES = ["policy/weights.txt", "optimiser.safetensors", "state.json"]


def save_policy(folder):
    folder.mkdir()
    (folder / "weights.txt").write_text("w")


def write(root, step: int = 3):
    return checkpoint.write(root, step, save_policy, STATE)


def test_what_was_written_is_found_and_read_back(tmp_path):
    directory = write(tmp_path)
    assert directory.name == "step-000003"
    found = checkpoint.latest(tmp_path)
    assert (found.step, found.directory) == (3, directory)
    assert (found.policy / "weights.txt").read_text() == "w"
    state = found.algorithm_state()
    assert state.values == STATE.values
    assert state.tensors.keys() == STATE.tensors.keys()
    assert all(torch.equal(state.tensors[name], t) for name, t in STATE.tensors.items())


def test_the_manifest_covers_every_other_file(tmp_path):
    directory = write(tmp_path)
    manifest = json.loads((directory / "manifest.json").read_text())
    assert sorted(manifest["files"]) == sorted(FILES)
    assert manifest["step"] == 3


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_an_error_that_names_it_and_the_cure(tmp_path, name):
    directory = write(tmp_path)
    data = bytearray((directory / name).read_bytes())
    data[-1] ^= 1
    (directory / name).write_bytes(bytes(data))
    with pytest.raises(RedteamError, match=rf"{directory / name}.*altered.*remove"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_an_error_that_names_it_and_the_cure(tmp_path, name):
    directory = write(tmp_path)
    (directory / name).unlink()
    with pytest.raises(RedteamError, match=rf"lacks.*{directory / name}.*remove"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize(
    "content", [None, "", "no json", "[]", "{}", '{"files": 3}', '{"files": [1]}']
)
def test_a_missing_or_garbled_manifest_is_an_error_that_names_it(tmp_path, content):
    manifest = write(tmp_path) / "manifest.json"
    if content is None:
        manifest.unlink()
    else:
        manifest.write_text(content)
    with pytest.raises(RedteamError, match=rf"{manifest.parent}.*manifest\.json"):
        checkpoint.latest(tmp_path)


def test_the_newest_one_counts_by_number(tmp_path):
    for step in (2, 10, 9, 1_000_000):
        write(tmp_path, step)
    assert checkpoint.latest(tmp_path).step == 1_000_000


def test_partial_folders_and_strangers_are_ignored(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None
    assert checkpoint.latest(tmp_path) is None
    write(tmp_path, 1)
    for name in (".step-000009.partial", "step-x", "step-000007.bak", "step-8", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000006").write_text("a file")
    assert checkpoint.latest(tmp_path).step == 1


def test_a_crash_while_writing_leaves_no_checkpoint(tmp_path):
    write(tmp_path, 1)

    def crash(folder):
        save_policy(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint.write(tmp_path, 2, crash, STATE)
    assert checkpoint.latest(tmp_path).step == 1
    write(tmp_path, 2)
    assert checkpoint.latest(tmp_path).step == 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000001", "step-000002"]


def test_a_checkpoint_is_written_over_one_of_the_same_step(tmp_path):
    (write(tmp_path) / "stale").write_text("old")
    assert not (write(tmp_path) / "stale").exists()
    checkpoint.latest(tmp_path)


def test_an_algorithm_without_tensors_has_checkpoints_too(tmp_path):
    checkpoint.write(tmp_path, 1, save_policy, AlgorithmState(values={"k": 1}))
    state = checkpoint.latest(tmp_path).algorithm_state()
    assert (dict(state.tensors), dict(state.values)) == ({}, {"k": 1})
