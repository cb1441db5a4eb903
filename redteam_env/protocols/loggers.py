"""What a run logs to, beside its own directory: trackers of experiments, and what they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTable:
    """A table of a step.

    Attributes:
        columns: The names of its columns.
        rows: A value for each column in every row. Texts hold no control characters.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRun:
    """A run as a logger is told of it when a session of it starts.

    Attributes:
        name: The name of its directory.
        directory: The directory itself.
        config: Its options by name, without keys and passwords.
        step: The first step of this session. Those from there on that an earlier session logged are taken
            again, with the same numbers.
        state: What :meth:`Logger.start` returned in an earlier session; nothing in the first.
    """

    name: str
    directory: Path
    config: Mapping[str, Any]
    step: int
    state: Mapping[str, Any]


class Logger(Protocol):
    """Shows a run's numbers somewhere else, such as in a tracker of experiments.

    A plug-in of the group ``redteam_env.loggers`` is called with the options behind its name as texts:
    ``--logger 'mine?project=demo'`` makes ``factory(project="demo")``. In a run of several processes the one
    that leads has the only one. What it raises is told once, and the run goes on without it.
    """

    def start(self, run: LoggedRun) -> Mapping[str, Any] | None:
        """Begin, or go on with, the record of a run.

        Args:
            run: The run.

        Returns:
            What it needs to go on with the same record in a later session, as plain JSON. Steps that an
            earlier session logged are then not logged again; a logger that needs nothing gets every step.
        """
        ...

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],
    ) -> None:
        """Log a step.

        Args:
            step: Its number.
            scalars: Numbers by name, all finite; ``None`` where there was nothing to measure.
            tables: Tables by name.
            files: Files of the run directory that are new.
        """
        ...

    def finish(self, outcome: Any) -> None:
        """Write what is left; called once if :meth:`start` was.

        Args:
            outcome: How the session ended (:class:`algorithms.Outcome`); after an error ``None``.
        """
        ...
