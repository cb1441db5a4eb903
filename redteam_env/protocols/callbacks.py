"""What may look at a training run and change it: callbacks, and what they see of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from redteam_env.game import Episode, Game
from redteam_env.protocols.agents import Agent
from redteam_env.protocols.batch import Batch
from redteam_env.protocols.judges import Judge
from redteam_env.protocols.rollouts import GameSetup
from redteam_env.protocols.seeds import SeedSource

Row = dict[str, float | int | None]
"""What one step logs, by name; ``None`` where there is nothing to measure."""


class TrainingRun(Protocol):
    """A run while it trains, as a callback sees it. In several processes each has its own.

    Attributes:
        config: All settings (:class:`algorithms.TrainConfig`).
        directory: The run directory.
        resumed: The checkpoint that the run goes on from, or ``None``.
        step: Steps done; within a step, its number.
        game: The rules.
        source: Where seeds come from.
        judge: Who reads the games.
        policy: What is trained (:class:`~redteam_env.protocols.TrainablePolicy`).
        algorithm: What learns.
        episodes: The games of this step.
        scripted: The groups of this step's games in which a scripted opponent of the league plays, and
            the role that it plays; known once the games are drawn.
        batches: What was learned from in this step, by role.
        row: What this step logs.
        leads: Whether this process writes files and speaks; one of several does.
        ending: Whether this step is the last of this call, as far as is known: a later callback may stop
            the run, and Ctrl-C is looked at when all have seen the step.
    """

    config: Any
    resumed: Path | None
    step: int
    game: Game
    source: SeedSource
    judge: Judge
    policy: Any
    algorithm: Any
    episodes: Sequence[Episode]
    scripted: Mapping[int, str]
    batches: Mapping[str, Batch]
    row: Row

    @property
    def directory(self) -> Path:
        """The run directory."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        ...

    @property
    def ending(self) -> bool:
        """Whether this step is the last of this call."""
        ...

    def stop(self, reason: str, *, failed: bool = False) -> None:
        """End the run after this step, with a checkpoint.

        Args:
            reason: Why, for the person who reads it.
            failed: Whether the run could not do its work; the command's exit code is then not 0.
        """
        ...

    def save(self, name: str | None = None) -> None:
        """Have the run written after this step, once all callbacks have seen it; in ``on_update`` only.

        In several processes all may ask; the one that leads writes.

        Args:
            name: Its name in the folder ``checkpoints``; by default that of its step.
        """
        ...


class Callback:
    """Looks at a run, or changes who plays and what is learned. No method does anything by default.

    Subclass it, or write a class with any of these methods: those that are missing are passed over,
    and a method ``on_...`` of another name is an error. Callbacks are called in the order they are
    given: after evaluation and seed replay; before the league, the rules for stopping, the log and the
    checkpoints, so that what they add to ``row`` is logged and may stop the run. One with a ``state``
    is known by the name of its class, or by an attribute ``name``.

    In a run of several processes each of them calls the same methods in the same order, but for
    ``on_checkpoint`` and ``state``, which the process that leads calls alone.

    A plug-in of the group ``redteam_env.callbacks`` is called as ``factory(config)``, if it has a
    dataclass ``factory.Config``, whose fields become options of the command line, and else as
    ``factory()``.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run; it is made, and restored if it goes on from a checkpoint."""

    def setups(self, step: int, setups: Sequence[GameSetup]) -> Sequence[GameSetup]:
        """Return the games of a step in place of those that were drawn."""
        return setups

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return who plays a role in a step's games; ``None`` leaves it to others.

        The first answer counts; where there is none, the run's opponent or league decides, and else the
        current weights play. In a league with opponents, a trained role is the league's to give.
        """

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return the games of a step as they are to be learned from."""
        return episodes

    def on_update(self, step: int, row: Row) -> None:
        """Look at a step after its update; add to what it logs."""

    def on_checkpoint(self, directory: Path) -> None:
        """Write files of its own into a checkpoint that is being made."""

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Take note of how far a step is."""

    def on_end(self, outcome: Any) -> None:
        """Clean up; called if ``on_start`` was.

        Args:
            outcome: How the run ended (:class:`algorithms.Outcome`); after an error ``None``.
        """

    def state(self) -> Mapping[str, Any]:
        """Return everything that a resumed run needs, as plain JSON; nothing by default."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that :meth:`state` returned; called before :meth:`on_start`."""
