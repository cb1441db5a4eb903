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
from typing import Any

from safetensors.torch import load_file, save_file

from redteam_env.game import RedteamError
from redteam_env.packages import sha256_of
from redteam_env.protocols import AlgorithmState

MANIFEST = "manifest.json"
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
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest: dict[str, Any] = {
        "schema": 1,
        "step": step,
        "files": {path.relative_to(partial).as_posix(): sha256_of(path) for path in files},
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
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
    found = {}
    for path in root.glob("step-*") if root.is_dir() else ():
        match = _STEP.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1])] = path
    if not found:
        return None
    step = max(found)
    verify(found[step])
    return Checkpoint(step, found[step])


def verify(directory: Path) -> None:
    """Check every file of a checkpoint against its manifest.

    Args:
        directory: The checkpoint.

    Raises:
        RedteamError: If the manifest or a file is missing, or a file was altered.
    """
    cure = f"Restore it, or remove {str(directory)!r} to go on from the checkpoint before."
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RedteamError(
            f"The checkpoint {str(directory)!r} has no readable {MANIFEST}: {error}. {cure}"
        ) from error
    for name, digest in files.items():
        path = directory / name
        if not path.is_file():
            raise RedteamError(f"The checkpoint lacks the file {str(path)!r}. {cure}")
        if sha256_of(path) != digest:
            raise RedteamError(f"The file {str(path)!r} was altered after it was saved. {cure}")
