"""Callbacks: what each of their methods gives a run, checked method by method."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.border.agents import check_agent
from redteam_env.border.calls import Plugin, call, each, nothing, reading
from redteam_env.border.records import episode, kept, metric
from redteam_env.border.records import setups as read_setups
from redteam_env.game import Episode, RedteamError, unknown_name
from redteam_env.game.values import Unfit, shown
from redteam_env.protocols import Agent, Callback, GameSetup, Row

HOOKS = tuple(name for name in vars(Callback) if not name.startswith("_"))


def name_of(callback: Any) -> str:
    """Return what a callback is called: its attribute ``name``, or the name of its class."""
    return str(getattr(callback, "name", type(callback).__name__))


def has_state(callback: Any) -> bool:
    """Whether a callback keeps something for resumed runs."""
    return getattr(type(callback), "state", Callback.state) is not Callback.state


def check_callback(callback: Any) -> None:
    """Refuse what is no callback.

    Raises:
        RedteamError: If it is a class, has no method of a callback or one of a similar name, or keeps a
            state that it cannot go back to.
    """
    if inspect.isclass(callback) or not any(hasattr(callback, name) for name in HOOKS):
        raise RedteamError(
            f"{shown(callback)} is no callback: give an object of your class, with at least one method of "
            "redteam_env.protocols.Callback."
        )
    for name in dir(type(callback)):
        if name.startswith("on_") and name not in HOOKS:
            raise unknown_name(f"method of the callback {name_of(callback)!r}", name, HOOKS)
    if has_state(callback) and not callable(getattr(callback, "load_state", None)):
        raise RedteamError(f"The callback {name_of(callback)!r} has a state() but no load_state().")


def _named(callback: Any) -> Plugin:
    return Plugin(callback, f"callback {name_of(callback)!r}")


def tell(callback: Any, method: str, *arguments: Any) -> None:
    """Call a method of a callback that returns nothing; what the machine refuses it passes.

    Args:
        callback: The callback; it has the method.
        method: Its name.
        *arguments: What it is given.

    Raises:
        RedteamError: If it raises.
    """
    call(_named(callback), method, *arguments, returns="nothing", read=nothing, writes=True)


def setups(callback: Any, step: int, drawn: Sequence[GameSetup]) -> list[GameSetup]:
    """Return the games of a step after a callback has seen them.

    Raises:
        RedteamError: If it raises, or leaves no games or what are none.
    """
    found = call(
        _named(callback),
        "setups",
        step,
        drawn,
        returns="what it was given, changed or not",
        read=read_setups,
        games=lambda place: f"step {step}" if place is None else f"game {place} of step {step}",
    )
    if not found:
        raise RedteamError(f"The callback {name_of(callback)!r} left no games to play.")
    return found


def agent(callback: Any, role: str, drawn: Sequence[GameSetup]) -> Agent | None:
    """Return a callback's answer to who plays a role.

    Raises:
        RedteamError: If it raises, or returns what is no agent.
    """
    what = f"agent of the {role} that the callback {name_of(callback)!r} gave"
    return call(
        _named(callback),
        "agent",
        role,
        drawn,
        returns="an agent (redteam_env.Agent), or None to leave it to others",
        read=lambda value: None if value is None else check_agent(value, what),
    )


def on_episodes(
    callback: Any, step: int, played: Sequence[Episode], seats: Sequence[str]
) -> list[Episode]:
    """Return a step's games as a callback wants them to be learned from.

    Args:
        callback: The callback.
        step: The step.
        played: The games.
        seats: The seats, for each of which a game has a reward.

    Raises:
        RedteamError: If it raises, or a game is none or pays what is no finite number.
    """
    known = {id(x) for x in played}
    return call(
        _named(callback),
        "on_episodes",
        step,
        played,
        returns="what it was given, changed or not",
        read=lambda value: each(
            value, lambda x: x if id(x) in known else episode(x, seats), noun="Episodes"
        ),
        games=lambda place: f"step {step}" if place is None else f"game {place} of step {step}",
    )


def on_update(callback: Any, step: int, row: Row) -> None:
    """Show a step to a callback, and check what it adds to what the step logs.

    Args:
        callback: The callback.
        step: The step.
        row: What the step logs; its numbers become Python's own, or ``None`` where they are not finite.

    Raises:
        RedteamError: If it raises, takes something out of the row, or adds what is no number.
    """
    before = dict(row)
    tell(callback, "on_update", step, row)

    def read(_: Any) -> None:
        if gone := before.keys() - row.keys():
            raise Unfit(f"took {min(gone)!r} out of what the step logs", "add to it only")
        for name, value in list(row.items()):
            if value is not before.get(name, before):
                if not isinstance(name, str):
                    raise Unfit(f"gave metrics with the name {name!r}", "give names as texts (str)")
                row[name] = metric(name, value)

    reading(
        _named(callback), "on_update", None, returns="nothing, and logs numbers or None", read=read
    )


def state_of(callback: Any) -> dict[str, Any]:
    """Return what a resumed run needs of a callback.

    Raises:
        RedteamError: If it raises, or returns what JSON cannot hold.
    """
    return call(_named(callback), "state", returns="a mapping of plain JSON", read=kept)


def load_state(callback: Any, state: Mapping[str, Any]) -> None:
    """Give a callback its state back.

    Raises:
        RedteamError: If it raises.
    """
    tell(callback, "load_state", state)
