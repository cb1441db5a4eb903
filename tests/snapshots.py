"""Committed lists of what users may rely on, one entry a line so that two branches merge well."""

import os
from collections.abc import Iterable
from pathlib import Path

UPDATE = "UPDATE_SNAPSHOTS"


def check_snapshot(file: Path, entries: Iterable[str]) -> None:
    """Fail if the sorted entries are not those of a committed file; rewrite it if asked to."""
    found = sorted(set(entries))
    if os.environ.get(UPDATE):
        file.write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
        return
    committed = file.read_text(encoding="utf-8").splitlines()
    gone = [f"- {line}" for line in committed if line not in found]
    new = [f"+ {line}" for line in found if line not in committed]
    assert not gone + new, "\n".join(
        [
            f"{file.name} has other entries than there are. If users shall see this change, run",
            f"  {UPDATE}=1 pytest tests/test_public_names.py tests/cli/test_options.py",
            "and commit the files.",
            *gone,
            *new,
        ]
    )
