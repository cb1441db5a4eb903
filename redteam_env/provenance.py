"""What a run was begun with, and whether it goes on with the same.

Seeds, instruction texts, judge, base and the files behind options decide results, so a run goes on with those
it was begun with or not at all. Versions may differ: that is a warning.
"""

import platform
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redteam_env.game import Game, RedteamError
from redteam_env.protocols import Judge, SeedSource
from redteam_env.utils.files import sha256_of
from redteam_env.utils.packages import versions

_OF_BASE = ("base_fingerprint", "base_parameters")
"""What a policy says of the weights that all its runs begin with."""
_STACK = ("redteam-env", "pettingzoo", "gymnasium", "numpy", "torch", "transformers", "peft")


def begun_with(
    options: Mapping[str, Any],
    *,
    policy: Mapping[str, Any],
    source: SeedSource,
    judge: Judge,
    game: Game,
) -> dict[str, dict[str, Any]]:
    """Return what decides the results of a run, plain JSON by what it is of.

    Args:
        options: The flat configuration.
        policy: What identifies the policy.
        source: Where seeds come from.
        judge: The judge.
        game: The rules.
    """
    return {
        "policy": {name: policy[name] for name in _OF_BASE if name in policy},
        "seeds": asdict(source.card),
        "judge": {"name": judge.name, "smoke_only": judge.smoke_only},
        "prompts": {"digest": game.prompts.digest},
        "files": _files(options),
    }


def session_record(processes: int) -> dict[str, Any]:
    """Return with what a run begins or goes on now: processes, versions, revision and time."""
    return {
        "processes": processes,
        "versions": {"python": platform.python_version(), **versions(_STACK)},
        "git": _revision(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _files(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file that an option names."""
    named = {name: Path(x).expanduser() for name, x in options.items() if isinstance(x, str) and x}
    return {name: sha256_of(file) for name, file in named.items() if file.is_file()}


def check_same(run: Path, record: Mapping[str, Any], decisive: Mapping[str, Any]) -> None:
    """Refuse to go on with anything that would change results.

    Args:
        run: The run directory.
        record: Its ``config.json``.
        decisive: What :func:`begun_with` returns now.

    Raises:
        RedteamError: If something differs from what the run was begun with; the text names it.
    """
    differences = [
        f"{what}.{name}: {stored.get(name)!r} there, {now.get(name)!r} now"
        for what, now in decisive.items()
        if isinstance(stored := record.get(what, now), Mapping)
        for name in now
        if stored.get(name) != now.get(name)
    ]
    if differences:
        raise RedteamError(
            f"{str(run)!r} was begun with something else ({'; '.join(differences)}). Restore what it was "
            "begun with, or give another --out."
        )


def warn_of_versions(run: Path, record: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn of versions other than those of the run's last session; they may change rounding."""
    last = (record.get("sessions") or [record])[-1].get("versions", {})
    changes = [f"{x} {last[x]} then, {now.get(x)} now" for x in last if last[x] != now.get(x)]
    if changes:
        warnings.warn(
            f"{str(run)!r} goes on with other versions ({', '.join(changes)}); it may not be repeatable.",
            stacklevel=3,
        )


def _revision() -> str | None:
    """Return the git revision of the source tree, ``None`` for an installed package."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
