"""Where the results of a command go: a new directory, written at once, and the command's exit code."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redteam_env.evaluation import Rates
from redteam_env.evaluation.stored import REPORT
from redteam_env.game import Episode, RedteamError
from redteam_env.utils.files import write_aside


def exit_code(rates: Rates, allowed: float) -> int:
    """Return 0, or why the rates are not to be relied on, which is told.

    Args:
        rates: Of all games that were played.
        allowed: Largest share of games that may be void or forfeited.

    Returns:
        0; 1 if every game was void; 3 if more were void or forfeited than allowed.
    """
    if rates.void == rates.games:
        sys.stderr.write(f"error: all {rates.games} games are void; nothing was measured.\n")
        return 1
    if rates.lost > allowed * rates.games:
        sys.stderr.write(
            f"error: {rates.lost} of {rates.games} games are void or forfeited, more than "
            f"--allow-void {allowed:g}; the rates are about the others only.\n"
        )
        return 3
    return 0


def reserve(out: Path | None) -> None:
    """Make the output directory before anything is played.

    Raises:
        RedteamError: If it holds something or cannot be made.
    """
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        full = any(out.iterdir())
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} cannot be used: {error}.") from error
    if full:
        raise RedteamError(
            f"--out {str(out)!r} is not empty; name a new directory, nothing is overwritten."
        )


def write_results(
    out: Path, report: Mapping[str, Any], files: Mapping[str, Sequence[Episode]]
) -> None:
    """Fill the reserved directory at once.

    Args:
        out: The directory.
        report: What :data:`REPORT` holds, plain JSON.
        files: Games by the name of their file.

    Raises:
        RedteamError: If it cannot be written.
    """
    try:
        with write_aside(out.resolve(), shared=True) as folder:
            folder.mkdir()
            for name, episodes in files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(f"{x.to_json()}\n" for x in episodes), encoding="ascii")
            text = json.dumps(report, indent=2, allow_nan=False)
            (folder / REPORT).write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} could not be written: {error}.") from error
