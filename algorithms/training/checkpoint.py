"""The algorithm's and the callbacks' part of a checkpoint: safetensors and JSON, no pickle."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from redteam_env.protocols import AlgorithmState
from redteam_env.runs import Checkpoint, Run
from redteam_env.utils.files import read_record

STATE = "state.json"
OPTIMISER = "optimiser.safetensors"


def write(
    run: Run,
    step: int,
    write_more: Callable[[Path], None],
    state: AlgorithmState,
    callbacks: Mapping[str, Any],
    *,
    name: str | None = None,
) -> Path:
    """Write a checkpoint, whole or not at all.

    Args:
        run: The run.
        step: Training steps done.
        write_more: Writes the policy, and what callbacks add, into the checkpoint's folder.
        state: The algorithm's.
        callbacks: The states of callbacks, by name.
        name: What the checkpoint is called; by default by its step.

    Returns:
        Its folder.
    """
    from safetensors.torch import save_file

    run.checkpoints_folder.mkdir(
        exist_ok=True
    )  # a run that is gone is an error, and none is made anew
    with run.new_checkpoint(step, name) as folder:
        write_more(folder)
        save_file({k: t.contiguous() for k, t in state.tensors.items()}, folder / OPTIMISER)
        values: dict[str, Any] = {"step": step, "algorithm": dict(state.values)}
        if callbacks:
            values["callbacks"] = dict(callbacks)
        (folder / STATE).write_text(json.dumps(values, indent=1), encoding="utf-8")
    return run.checkpoint_path(name or step)


def read_state(checkpoint: Checkpoint) -> tuple[AlgorithmState, Mapping[str, Any]]:
    """Return what the algorithm, and the callbacks by name, need to go on from a checkpoint."""
    from safetensors.torch import load_file

    values = read_record(
        checkpoint.path / STATE, remedy="Use another checkpoint.", needed=["algorithm"]
    )
    tensors = load_file(checkpoint.path / OPTIMISER)
    state = AlgorithmState(tensors=tensors, values=values["algorithm"])
    return state, values.get("callbacks", {})
