"""From what a user names to the object that is meant: the one place that checks plug-in objects."""

import inspect
from typing import Any

from redteam_env import registry
from redteam_env.game import RedteamError
from redteam_env.protocols import Agent


def build(kind: str, name: str, /, **options: Any) -> Any:
    """Load a plug-in by name and call its factory.

    Args:
        kind: Such as ``judges``.
        name: Its name.
        **options: Keyword arguments of the factory.

    Returns:
        What the factory returns.

    Raises:
        RedteamError: If the name is unknown, the import fails, or the factory refuses an option.
    """
    factory = registry.load(kind, name)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise RedteamError(
            f"The {registry.singular(kind)} {name!r} cannot be made with the options "
            f"{sorted(options)}: {error}."
        ) from error
    return factory(**options)


def resolve_agent(agent: str | Agent, role: str) -> Agent:
    """Return an agent for a role.

    Args:
        agent: The name of a registered agent, such as ``refuse``, or an agent.
        role: The role it is to play.

    Returns:
        The agent.

    Raises:
        RedteamError: If the name is unknown or the object has no ``act``.
    """
    found = build("agents", agent, role=role) if isinstance(agent, str) else agent
    checked: Agent = require(found, "act", f"agent {agent!r}")
    return checked


def require(thing: Any, method: str, what: str) -> Any:
    """Return a plug-in's object if it has the method its protocol asks for.

    Raises:
        RedteamError: If it has not.
    """
    if not callable(getattr(thing, method, None)):
        raise RedteamError(
            f"The {what} is {type(thing).__name__}, which has no method {method}(); "
            "see redteam_env.protocols for what it must offer."
        )
    return thing
