"""From what a user names to the object that is meant: the one place that checks plug-in objects."""

import inspect
from collections.abc import Mapping
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


def resolve_agent(agent: str | Agent, role: str, **sampling: Any) -> Agent:
    """Return an agent for a role.

    Args:
        agent: The name of a registered agent, such as ``refuse``; a name with an argument, such as
            ``endpoint:MODEL@URL``; or an agent.
        role: The role it is to play.
        **sampling: How its model is to be asked (``max_new_tokens``, ``temperature``), for a name
            with an argument; what its factory does not take is left out.

    Returns:
        The agent.

    Raises:
        RedteamError: If the name is unknown, its agent takes no argument or refuses this one, or
            the object has no ``act``.
    """
    if isinstance(agent, str):
        name, argument = split_name(agent)
        found = (
            build("agents", name, role=role)
            if argument is None
            else _with_argument(name, argument, role, sampling)
        )
    else:
        found = agent
    checked: Agent = require(found, "act", f"agent {agent!r}")
    return checked


def split_name(spec: str) -> tuple[str, str | None]:
    """Take ``NAME:ARGUMENT`` apart, if NAME is a registered agent; else there is no argument."""
    name, colon, argument = spec.partition(":")
    return (name, argument) if colon and name in registry.names("agents") else (spec, None)


def _with_argument(name: str, argument: str, role: str, sampling: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(registry.load("agents", name)).parameters
    if "argument" not in parameters:
        raise RedteamError(f"The agent {name!r} takes no argument; leave ':{argument}' out.")
    options = {key: value for key, value in sampling.items() if key in parameters}
    return build("agents", name, role=role, argument=argument, **options)


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
