"""Checkpoints: whole or absent, verified on reading, without pickle.

A checkpoint is written into a hidden folder beside its place and renamed at the end. Its manifest
holds the SHA-256 of every file; a missing or altered file is an error that names it, because
training that silently goes on with an empty optimiser is worse than none.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from redteam_env.protocols import AlgorithmState
from redteam_env.utils.manifest import verify_manifest, write_manifest

STATE = "state.json"
OPTIMISER = "optimiser.safetensors"
POLICY = "policy"
_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was found and verified.

    Attributes:
        step: Training steps done.
        directory: Where it is.
    """

    step: int
    directory: Path

    @property
    def policy(self) -> Path:
        """The folder of the policies' weights."""
        return self.directory / POLICY

    def algorithm_state(self) -> AlgorithmState:
        """Return what the algorithm needs to go on."""
        values = json.loads((self.directory / STATE).read_text(encoding="utf-8"))
        return AlgorithmState(
            tensors=load_file(self.directory / OPTIMISER), values=values["algorithm"]
        )


def write(
    root: Path, step: int, save_policy: Callable[[Path], None], state: AlgorithmState
) -> Path:
    """Write a checkpoint.

    Args:
        root: The folder of checkpoints.
        step: Training steps done.
        save_policy: Writes the policies' weights into a new folder.
        state: The algorithm's.

    Returns:
        The checkpoint's folder ``step-NNNNNN``.
    """
    target = root / f"step-{step:06d}"
    partial = root / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_policy(partial / POLICY)
    save_file({k: t.contiguous() for k, t in state.tensors.items()}, partial / OPTIMISER)
    values = {"step": step, "algorithm": dict(state.values)}
    (partial / STATE).write_text(json.dumps(values, indent=1), encoding="utf-8")
    write_manifest(partial, {"step": step})
    if target.exists():  # the run was resumed from an earlier checkpoint
        shutil.rmtree(target)
    partial.rename(target)
    return target


def latest(root: Path) -> Checkpoint | None:
    """Return the newest checkpoint after verifying it; ``None`` if there is none.

    Args:
        root: The folder of checkpoints.

    Raises:
        RedteamError: If a file of it is missing or altered.
    """
    found = []
    for path in root.glob("step-*") if root.is_dir() else ():
        match = _STEP.fullmatch(path.name)
        if match and path.is_dir():
            found.append(int(match[1]))
    if not found:
        return None
    return at(root, max(found))


def at(root: Path, step: int) -> Checkpoint:
    """Return the checkpoint of a step after verifying it.

    Args:
        root: The folder of checkpoints.
        step: Training steps done.

    Raises:
        RedteamError: If there is none, or a file of it is missing or altered.
    """
    directory = root / f"step-{step:06d}"
    verify_manifest(directory)
    return Checkpoint(step, directory)
