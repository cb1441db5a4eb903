"""Lists in options: several names, or names with values, in one text with commas between them."""

from typing import Any
from urllib.parse import parse_qsl

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
        found[name] = value_of(value)
    return found


def queried(text: str) -> tuple[str, dict[str, str]]:
    """Take ``HEAD?key=value&key=value`` apart, as in a web address.

    Raises:
        RedteamError: If the options cannot be read, or one is given twice.
    """
    head, _, query = text.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise RedteamError(
            f"The options of {text!r} cannot be read; write ?key=value&key=value."
        ) from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise RedteamError(f"An option of {text!r} is given twice; give each once.")
    return head, options


def value_of(text: str) -> Any:
    """Return the value that a text spells: JSON where it can be read as such, else the text."""
    try:
        return parse_json(text, place=text)
    except RedteamError:
        return text
