"""Manifests: the SHA-256 of every file of a directory, written last and checked on reading."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.utils.packages import sha256_of

MANIFEST = "manifest.json"


def write_manifest(directory: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a directory that is otherwise complete.

    Args:
        directory: The directory.
        facts: What else the manifest is to say.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    record = {
        "schema": 1,
        **facts,
        "files": {path.relative_to(directory).as_posix(): sha256_of(path) for path in files},
    }
    (directory / MANIFEST).write_text(json.dumps(record, indent=1), encoding="utf-8")


def verify_manifest(directory: Path) -> None:
    """Check every file of a directory against its manifest.

    Args:
        directory: The directory.

    Raises:
        RedteamError: If the manifest or a file is missing, or a file was altered; it names the file.
    """
    cure = f"Restore it, or remove {str(directory)!r} to use the checkpoint before."
    try:
        record = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files = dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RedteamError(
            f"The checkpoint {str(directory)!r} has no readable {MANIFEST}: {error}. {cure}"
        ) from error
    for name, digest in files.items():
        path = directory / name
        if not path.is_file():
            raise RedteamError(f"The checkpoint lacks the file {str(path)!r}. {cure}")
        if sha256_of(path) != digest:
            raise RedteamError(f"The file {str(path)!r} was altered after it was saved. {cure}")
