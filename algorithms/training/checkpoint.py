"""The algorithm's part of a checkpoint: tensors as safetensors, all else as JSON, no pickle."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from redteam_env.protocols import AlgorithmState
from redteam_env.runs import POLICY, Checkpoint, Run
from redteam_env.utils.files import read_record

STATE = "state.json"
OPTIMISER = "optimiser.safetensors"


def write(run: Run, step: int, save_policy: Callable[[Path], None], state: AlgorithmState) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        run: The run.
        step: Training steps done.
        save_policy: Writes the policies' weights into a new folder.
        state: The algorithm's.
    """
    with run.new_checkpoint(step) as folder:
        save_policy(folder / POLICY)
        save_file({k: t.contiguous() for k, t in state.tensors.items()}, folder / OPTIMISER)
        values = {"step": step, "algorithm": dict(state.values)}
        (folder / STATE).write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_state(checkpoint: Checkpoint) -> AlgorithmState:
    """Return what the algorithm needs to go on from a checkpoint."""
    values = read_record(
        checkpoint.path / STATE, remedy="Use another checkpoint.", needed=["algorithm"]
    )
    tensors = load_file(checkpoint.path / OPTIMISER)
    return AlgorithmState(tensors=tensors, values=values["algorithm"])
