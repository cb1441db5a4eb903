"""Games kept on disk while they are played, so that an evaluation goes on where it was interrupted.

They are played in parts. A part is appended to a file as soon as it has ended, and a later call takes from
there what has an answer and a verdict; void games are played again. Every game's randomness is addressed by
its path, so the games are the same whether they were interrupted or not.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redteam_env.border import judges
from redteam_env.evaluation.stored import read_last_games
from redteam_env.game import JUDGE, Episode, Game, RedteamError
from redteam_env.protocols import Agent, GameSetup, Judge, Progress, Reply, TurnRequest
from redteam_env.randomness import Address
from redteam_env.rollout import apply_reply, play, turn_request
from redteam_env.utils.files import make_folder
from redteam_env.utils.notices import warn

_CONCURRENT = 4
"""Batches of a part where the judge reads games while others are played."""
_REMEDY = "Remove the file, and its games are played again."


@dataclass(slots=True)
class KeptGames:
    """Plays games, and keeps them in files of a folder.

    Attributes:
        folder: Where; ``None`` to keep nothing.
        stopping: Asked before each part whether to end there, with ``KeyboardInterrupt``.
        beside: Called before each part is kept, to write what else is to be known of all games so far.
        found: How many games were taken from files.
        full: Whether the disk took no more of them; games are played all the same.
    """

    folder: Path | None = None
    stopping: Callable[[], bool] = bool
    beside: Callable[[], object] = bool
    found: int = 0
    full: bool = False

    def play(
        self,
        name: str,
        setups: Sequence[GameSetup],
        agents: Mapping[str, Agent],
        judge: Judge,
        *,
        game: Game | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> list[Episode]:
        """Play what is not known yet.

        Args:
            name: What the file of these games is called, without its ending.
            setups: As for :func:`redteam_env.rollout.play`, whose other arguments these are.
            agents: The same.
            judge: The same.
            game: The same.
            batch_size: The same. Parts have this size.
            progress: The same.

        Returns:
            One episode for each setup, in order.

        Raises:
            RedteamError: If the file holds something else, or as :func:`redteam_env.rollout.play`.
            KeyboardInterrupt: If it is to stop; what was played is kept.
        """
        if self.folder is None:
            return play(setups, agents, judge, game=game, batch_size=batch_size, progress=progress)
        episodes = self.known(name, setups)
        self.found += len(episodes)
        left = [k for k in range(len(setups)) if k not in episodes]
        size = batch_size or max(1, len(left))
        if judges.is_concurrent(judge):
            size *= _CONCURRENT
        for part in _parts(left, setups, size):
            if self.stopping():
                raise KeyboardInterrupt
            played = play(
                [setups[k] for k in part],
                agents,
                judge,
                game=game,
                batch_size=batch_size,
                progress=_shifted(progress, len(episodes), len(setups)),
            )
            self.write(name, partial(_append, played))
            episodes |= zip(part, played, strict=True)
        return [episodes[k] for k in range(len(setups))]

    def known(self, name: str, setups: Sequence[GameSetup]) -> dict[int, Episode]:
        """Return the games that are kept and not void, by the place of their setups.

        Raises:
            RedteamError: If a line but a half-written last one is damaged, or the file holds a game of another
                request.
        """
        file = self.file(name)
        if file is None or not file.is_file():
            return {}
        places: dict[Address, int] = {setup.path: k for k, setup in enumerate(setups)}
        found: dict[int, Episode] = {}
        episodes, left_out = read_last_games(file, _REMEDY)
        if left_out is not None:
            warn(f"{left_out} is half-written and left out; its game is played again.")
        self.write(name, partial(_end_whole, cut=left_out is not None))
        for episode in episodes:
            k = places.get(episode.path)
            if k is None or setups[k].seed != episode.seed:
                raise RedteamError(f"{str(file)!r} holds a game of another request. {_REMEDY}")
            if episode.void is None:
                found[k] = episode
        return found

    def file(self, name: str) -> Path | None:
        """Return where games of a kind are kept; ``None`` if nothing is."""
        return self.folder and self.folder / f"{name}.jsonl"

    def write(self, name: str, put: Callable[[Path], object]) -> None:
        """Keep games, as long as the disk takes them; the first time that it does not, that is told.

        Args:
            name: What their file is called, without its ending.
            put: Writes them; it is given the file.
        """
        file = self.file(name)
        if file is None or self.full:
            return
        try:
            make_folder(file.parent)
            self.beside()
            put(file)
        except OSError as error:  # the games are worth more than a file of them
            self.full = True
            warn(
                f"{str(file)!r} cannot be written ({error.strerror or error}): games are played all the same, but "
                "those from now on are lost if this is interrupted."
            )


def asked(
    setup: GameSetup, episode: Episode, game: Game | None = None
) -> Iterator[tuple[TurnRequest, Reply]]:
    """Yield what the seats of a game were asked, and what they answered.

    Args:
        setup: The game's.
        episode: The game, played by the same rules.
        game: The rules; by default :class:`~redteam_env.game.Game` as it stands.
    """
    rules = Game() if game is None else game
    if JUDGE in rules.seats and all(turn.seat != JUDGE for turn in episode.turns):
        rules = rules.without_judge()
    state = rules.start(setup.seed, rewritten=setup.rewritten)
    for turn in episode.turns:
        reply = Reply(
            text=turn.text,
            generation=turn.generation,
            error=turn.error,
            truncated=turn.truncated,
            thought=turn.native,
            neutralised=turn.neutralised,
        )
        yield turn_request(rules, state, setup.path), reply
        state = apply_reply(rules, state, reply)


def _parts(left: Sequence[int], setups: Sequence[GameSetup], size: int) -> Iterator[Sequence[int]]:
    """Yield parts of at most a size; raw games and rewritten ones apart, so that calls to agents are full."""
    for rewritten in (False, True):
        alike = [k for k in left if setups[k].rewritten is rewritten]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _append(episodes: Sequence[Episode], file: Path) -> None:
    with file.open("a", encoding="ascii") as stream:
        stream.write("".join(f"{x.to_json()}\n" for x in episodes))
        stream.flush()
        os.fsync(stream.fileno())


def _end_whole(file: Path, *, cut: bool) -> None:
    """Let a file of lines end with a whole one, so that others may follow.

    Args:
        file: The file.
        cut: Whether its last line is damaged, and goes; else it may lack its end.
    """
    content = file.read_bytes()
    if cut:
        with file.open("rb+") as stream:
            stream.truncate(content.rfind(b"\n", 0, -1) + 1)
    elif content and not content.endswith(b"\n"):
        with file.open("ab") as stream:
            stream.write(b"\n")


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    if progress is None:
        return None

    def report(phase: str, done: int, _: int) -> None:
        progress(phase, before + done, total)

    return report
