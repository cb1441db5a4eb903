"""What ``evaluate`` and ``crossplay`` keep in ``--out`` while they play, and how they go on from there.

Games stand in the folder ``unfinished`` until all are played; with them stands everything that they depend on.
The same command goes on, and another one is refused.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redteam_env.cli.main import version
from redteam_env.cli.options import Table
from redteam_env.cli.results import check_same, check_unused
from redteam_env.cli.spent import Spent, spent_in
from redteam_env.evaluation.kept import KeptGames
from redteam_env.evaluation.stored import PLAN, REPORT, SCHEMA, UNFINISHED
from redteam_env.game import Episode, RedteamError
from redteam_env.protocols import GameSetup
from redteam_env.runs import Run
from redteam_env.utils.console import Shown, progress_bar
from redteam_env.utils.files import write_text
from redteam_env.utils.interrupts import noted_interrupts
from redteam_env.utils.locks import held
from redteam_env.utils.text import escape_controls


@dataclass(slots=True)
class Keeping:
    """A directory of results while its games are played.

    Attributes:
        out: The directory; ``None`` to keep nothing.
        games: Plays the games.
    """

    out: Path | None
    games: KeptGames = field(default_factory=KeptGames)

    def begin(self, plan: Mapping[str, Any], table: Table) -> Spent:
        """Note what the games depend on, or compare it with what the directory holds.

        Args:
            plan: Plain JSON.
            table: What is played with.

        Returns:
            What the games take, those of earlier calls included.

        Raises:
            RedteamError: If the games there depend on something else, or nothing can be written there.
        """
        if self.out is None:
            return Spent(table)
        folder = self.games.folder = self.out / UNFINISHED
        begun = _begun(self.out)
        if begun:
            check_same(self.out, folder / PLAN, plan)
        else:
            try:
                write_text(folder / PLAN, f"{json.dumps(plan, indent=2, allow_nan=False)}\n")
            except OSError as error:
                raise RedteamError(f"--out {str(self.out)!r} cannot be used: {error}.") from error
        spent = spent_in(folder, table, begun=begun)
        self.games.beside = spent.write
        return spent

    @contextmanager
    def playing(self) -> Iterator[Shown]:
        """Show progress; after Ctrl-C end with the games that are played just now, after a second one at once.

        Yields:
            Is called as ``progress(phase, done, total)``.
        """
        with stoppable(keeps=self.out is not None) as (bar, self.games.stopping):
            if self.out is not None and _begun(self.out):
                bar.say(f"Going on with the games in {escape_controls(str(self.out))}.")
            yield bar

    def write(self, report: Mapping[str, Any], files: Mapping[str, Sequence[Episode]]) -> None:
        """Write the results into the directory, and remove what was kept for them.

        Args:
            report: What :data:`~redteam_env.evaluation.stored.REPORT` holds, plain JSON.
            files: Games by the name of their file.

        Raises:
            RedteamError: If it cannot be written.
        """
        if self.out is None:
            return
        try:
            for name, episodes in files.items():
                write_text(self.out / name, "".join(f"{x.to_json()}\n" for x in episodes))
            text = json.dumps(report, indent=2, allow_nan=False)
            write_text(self.out / REPORT, f"{text}\n")
            shutil.rmtree(self.out / UNFINISHED)
        except OSError as error:
            raise RedteamError(f"--out {str(self.out)!r} could not be written: {error}.") from error


@contextmanager
def stoppable(*, keeps: bool) -> Iterator[tuple[Shown, Callable[[], bool]]]:
    """Show progress; after Ctrl-C what is begun is finished, and a second one ends it at once.

    Args:
        keeps: Whether what is finished is kept; else the first Ctrl-C ends it.

    Yields:
        What is called as ``progress(phase, done, total)``, and what tells whether to stop.
    """
    with progress_bar() as bar:
        if not keeps:
            yield bar, bool
            return
        answer = "Ctrl-C: finishing this batch; again to stop now."
        with noted_interrupts(lambda: bar.at_once(answer)) as pressed:
            yield bar, lambda: bool(pressed)


@contextmanager
def keeping(out: Path | None) -> Iterator[Keeping]:
    """Hold a directory of results while its games are played.

    Args:
        out: The directory; ``None`` to keep nothing.

    Yields:
        What plays and keeps the games.

    Raises:
        RedteamError: If the directory holds anything but games of an interrupted evaluation, is in use, or
            cannot be made.
    """
    check_unused(out, but=UNFINISHED)
    with nullcontext() if out is None else held(out):
        try:
            yield Keeping(out)
        except KeyboardInterrupt:
            if out is not None and _begun(out):
                place = escape_controls(str(out))
                sys.stderr.write(f"Kept in {place}; the same command goes on from there.\n")
            raise
        finally:
            if out is not None and not _begun(out):
                shutil.rmtree(out / UNFINISHED, ignore_errors=True)


def plan_of(
    command: str,
    settings: Mapping[str, Any],
    players: Mapping[str, Sequence[str]],
    setups: Sequence[GameSetup],
    **more: Any,
) -> dict[str, Any]:
    """Return what the games of an evaluation depend on, as plain JSON.

    Args:
        command: The command.
        settings: How they are played.
        players: The agents of each role, as the user named them. Of a run, its newest checkpoint counts.
        setups: The games.
        **more: What else they depend on.
    """
    games = [[x.seed.text, x.seed.harmful, x.rewritten, list(x.path)] for x in setups]
    digest = hashlib.sha256(json.dumps(games).encode()).hexdigest()
    agents = {role: [_version(spec) for spec in specs] for role, specs in players.items()}
    plan = {"schema": SCHEMA, "command": command, "version": version(), **agents, **more}
    return {**plan, "games": digest, "settings": dict(settings)}


def _version(spec: str) -> str:
    checkpoints = Run(Path(spec).expanduser()).checkpoints()
    return str(checkpoints[-1].path) if checkpoints else spec


def _begun(out: Path) -> bool:
    return any((out / UNFINISHED).glob("*.jsonl"))
