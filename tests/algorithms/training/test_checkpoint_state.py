"""The algorithm's part of a checkpoint."""

import pytest
import torch

from algorithms.training import checkpoint
from redteam_env.game import RedteamError
from redteam_env.protocols import AlgorithmState
from redteam_env.runs import POLICY, Run

STATE = AlgorithmState(
    tensors={"attacker/0/step": torch.tensor(3.0), "attacker/0/exp_avg": torch.randn(4, 2).T},
    values={"updates": 3, "ema": {"attacker": 0.5}},
)


def save_policy(folder):
    (folder / POLICY).mkdir()
    (folder / POLICY / "weights.txt").write_text("w")


@pytest.mark.parametrize("state", [STATE, AlgorithmState(values={"k": 1})])
def test_what_was_written_is_read_back(tmp_path, state):
    checkpoint.write(Run(tmp_path), 3, save_policy, state, {"counter": {"steps": 3}})
    found = Run(tmp_path).latest()
    assert (found.policy / "weights.txt").read_text() == "w"
    read, callbacks = checkpoint.read_state(found)
    assert callbacks == {"counter": {"steps": 3}}
    assert read.values == state.values
    assert read.tensors.keys() == state.tensors.keys()
    assert all(torch.equal(read.tensors[name], t) for name, t in state.tensors.items())


def test_a_crash_while_the_policy_is_saved_leaves_no_checkpoint(tmp_path):
    def crash(folder):
        save_policy(folder)
        raise OSError("disk full")

    run = Run(tmp_path)
    checkpoint.write(run, 1, save_policy, STATE, {})
    with pytest.raises(OSError, match="disk full"):
        checkpoint.write(run, 2, crash, STATE, {})
    assert run.latest().step == 1
    checkpoint.write(run, 2, save_policy, STATE, {})
    assert run.latest().step == 2


def test_a_checkpoint_with_a_name_is_no_step_to_go_on_from(tmp_path):
    run = Run(tmp_path)
    checkpoint.write(run, 1, save_policy, STATE, {})
    place = checkpoint.write(run, 2, save_policy, STATE, {}, name="best")
    assert place == tmp_path / "checkpoints/best"
    assert (run.best().step, run.latest().step) == (2, 1)
    (place / POLICY / "weights.txt").write_text("x")
    with pytest.raises(RedteamError, match="weights"):
        run.best()
