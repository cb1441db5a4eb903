"""The manifest of a directory of results: what decides them; results of two are never mixed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.utils.files import read_json, write_text

_SHOWN = 300
"""Most characters of a value in a message."""


def open_directory(file: Path, wanted: Mapping[str, Any], *, what: str) -> None:
    """Make a directory of results, or check that it is this one's.

    Args:
        file: The manifest's place in it.
        wanted: The manifest.
        what: What the results are of, such as ``experiment``.

    Raises:
        RedteamError: If it holds something else, or another manifest; the text shows the difference.
    """
    root = file.parent
    if file.is_file():
        check_manifest(file, wanted)
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RedteamError(f"{str(root)!r} is not empty and holds no {what}; give another --out.")
    write_text(file, json.dumps(wanted, indent=1))


def check_manifest(file: Path, wanted: Mapping[str, Any], *, option: str = "--out") -> None:
    """Refuse the directory of other results.

    Args:
        file: Its manifest.
        wanted: The manifest that it should have.
        option: The option by which a user names another directory.

    Raises:
        RedteamError: If the manifest differs or cannot be read.
    """
    found = read_json(file, remedy=f"Give another {option}.")
    every = list(_differences(found, wanted, ""))
    # a digest differs whenever anything does
    differences = [x for x in every if not x.startswith("digest:")] or every
    if differences:
        listed = "; ".join(differences[:5])
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise RedteamError(
            f"{str(file.parent)!r} holds results of another manifest ({listed}{more}). Results of "
            f"different manifests are never mixed: give another {option}, or the configuration and "
            "versions it was started with."
        )


def _differences(found: Any, wanted: Any, where: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, Mapping):
        for name in sorted({*found, *wanted}):
            place = f"{where}.{name}" if where else name
            yield from _differences(found.get(name), wanted.get(name), place)
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for k, (there, now) in enumerate(zip(found, wanted, strict=True)):
            yield from _differences(there, now, f"{where}[{k}]")
    elif found != wanted:
        yield f"{where}: {_shown(found)} there, {_shown(wanted)} now"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
