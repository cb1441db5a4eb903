"""The run directory: what is in it, and when it may be written to."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from algorithms.training.config import TrainConfig, changed, completed
from redteam_env.game import Episode, Game, RedteamError
from redteam_env.protocols import Judge, SeedSource
from redteam_env.utils.packages import versions

CONFIG = "config.json"
SCHEMA = 1
_STACK = ("redteam-env", "pettingzoo", "gymnasium", "numpy", "torch", "transformers", "peft")


class Described(Protocol):
    """What can say which policy it is, as a :class:`~redteam_env.protocols.TrainablePolicy` can."""

    def describe(self) -> Mapping[str, Any]:
        """Return plain JSON."""
        ...


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run's files.

    Attributes:
        path: ``config.json``, ``metrics.jsonl``, ``episodes/step-NNNNNN.jsonl``, ``checkpoints/``,
            ``tensorboard/``.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def write_config(
        self,
        config: TrainConfig,
        policy: Described,
        source: SeedSource,
        judge: Judge,
        game: Game,
        *,
        processes: int = 1,
    ) -> None:
        """Write everything that is needed to repeat the run."""
        record = {
            "schema": SCHEMA,
            "config": {**config.flat(), "out": None, "resume": False, "json": False},
            "policy": dict(policy.describe()),
            "seeds": asdict(source.card),
            "judge": {"name": judge.name, "smoke_only": judge.smoke_only},
            "prompts": {"digest": game.prompts.digest},
            "processes": processes,
            "versions": {"python": platform.python_version(), **versions(_STACK)},
            "git": _revision(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / CONFIG, json.dumps(record, indent=1))

    def drop_episodes(self, done: int) -> None:
        """Remove the games of steps that a resumed run plays again, or will not play."""
        for file in (self.path / "episodes").glob("step-*.jsonl"):
            number = file.stem.removeprefix("step-")
            if number.isdecimal() and int(number) >= done:
                file.unlink()

    def write_episodes(self, step: int, episodes: Sequence[Episode]) -> None:
        """Write a step's games, one JSON object a line."""
        folder = self.path / "episodes"
        folder.mkdir(exist_ok=True)
        text = "".join(f"{episode.to_json()}\n" for episode in episodes)
        write_text(folder / f"step-{step:06d}.jsonl", text)


def open_run(config: TrainConfig) -> RunDirectory:
    """Return the directory of a run that may be started or resumed; writes nothing.

    Args:
        config: The run.

    Returns:
        The directory.

    Raises:
        RedteamError: If it holds something and ``resume`` is off, or holds another run.
    """
    named = config.run.out or f"runs/{config.policy.arrangement}-{config.run.seed}"
    path = Path(named)
    if path.exists() and not path.is_dir():
        raise RedteamError(f"{named!r} is a file; give a directory as --out.")
    stored = stored_config(path)
    if stored is None:
        if path.is_dir() and any(path.iterdir()):
            raise RedteamError(
                f"{named!r} is not empty and holds no run; give another directory as --out."
            )
        return RunDirectory(path)
    if not config.run.resume:
        raise RedteamError(
            f"{named!r} holds a run already; go on with --resume, or give another --out."
        )
    differences = changed(completed(stored, config), json.loads(json.dumps(config.flat())))
    if differences:
        listed = "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in differences.items())
        raise RedteamError(
            f"{named!r} was started with other options ({listed}). Leave them out to resume, or "
            "give another --out."
        )
    return RunDirectory(path)


def stored_config(path: Path) -> dict[str, Any] | None:
    """Return the flat configuration of a run directory, ``None`` if it holds no run.

    Raises:
        RedteamError: If its ``config.json`` is damaged or of another schema.
    """
    file = path / CONFIG
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        config: dict[str, Any] = record["config"]
        schema = record["schema"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RedteamError(f"{str(file)!r} is no run's configuration: {error!r}.") from error
    if schema != SCHEMA:
        raise RedteamError(
            f"{str(file)!r} has schema {schema!r}; this version reads {SCHEMA}. Resume with the "
            "version that wrote it."
        )
    return config


def write_text(file: Path, text: str) -> None:
    """Write a file, whole or not at all; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


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
