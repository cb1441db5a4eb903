"""Loggers: what each of their methods is given and returns, checked."""

from typing import Any

from redteam_env.border.calls import Plugin, call, nothing
from redteam_env.border.records import kept
from redteam_env.protocols import LoggedRun, Logger


def _named(name: str, logger: Logger) -> Plugin:
    return Plugin(logger, f"logger {name!r}")


def start(name: str, logger: Logger, run: LoggedRun) -> dict[str, Any]:
    """Return what a logger needs to go on with the same record in a later session.

    Raises:
        RedteamError: If it raises, or returns what JSON cannot hold.
    """
    return call(
        _named(name, logger),
        "start",
        run,
        returns="a mapping of plain JSON, or None",
        read=lambda value: {} if value is None else kept(value),
        writes=True,
    )


def log(name: str, logger: Logger, *given: Any) -> None:
    """Give a logger a step.

    Args:
        name: Its name.
        logger: The logger.
        *given: The step, its scalars, tables and files.

    Raises:
        RedteamError: If it raises.
    """
    call(_named(name, logger), "log", *given, returns="nothing", read=nothing, writes=True)


def finish(name: str, logger: Logger, outcome: Any) -> None:
    """Let a logger write what is left.

    Raises:
        RedteamError: If it raises.
    """
    call(_named(name, logger), "finish", outcome, returns="nothing", read=nothing, writes=True)
