"""Lists in options: several names, or names with values, in one text with commas between them."""

from typing import Any

from redteam_env.game.errors import RedteamError
from redteam_env.utils.reading import parse_json


def listed(text: str | None) -> tuple[str, ...]:
    """Return the parts of a list with commas, each once and without the spaces around it."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def assigned(text: str, *, option: str, example: str) -> dict[str, Any]:
    """Return the values of ``NAME=VALUE,NAME=VALUE``: JSON where they can be read as such, else text.

    Args:
        text: The list.
        option: What the option is called, for messages.
        example: A part that is right, such as ``lr=5e-4``.

    Raises:
        RedteamError: If a part is not ``NAME=VALUE``, or a name is given twice.
    """
    found: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise RedteamError(f"{option} has {part!r}; write NAME=VALUE, such as {example}.")
        if name in found:
            raise RedteamError(f"{option} has {name!r} twice; give it one value.")
        try:
            found[name] = parse_json(value, place=part)
        except RedteamError:
            found[name] = value
    return found
