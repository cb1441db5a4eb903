"""Errors a user can act on: each names what was wrong, with which value, and what to do."""

import difflib
from collections.abc import Iterable


class RedteamError(Exception):
    """A wrong value from outside: an argument, a file, a name or a server.

    The command line prints its text as one line and exits with 2. It is no ``ValueError``, so that
    option parsers, which turn those into usage messages, let it through.

    Args:
        message: The text. It may quote what a stranger wrote: characters that show nothing, or drive a
            terminal, are spelled out in it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(map(_shown, message)))


def _shown(char: str) -> str:
    if char.isprintable() or char == "\n":
        return char
    return char.encode("unicode_escape").decode("ascii")


def unknown_name(
    what: str, name: object, allowed: Iterable[str], *, hint: str = "", guess: bool = True
) -> RedteamError:
    """Build the error for a name that is not among the allowed ones.

    Args:
        what: The kind of thing, such as ``"judge"``.
        name: The value that was given.
        allowed: The names that would have been right.
        hint: A sentence on how to add one.
        guess: Whether the nearest match is suggested; not where it may mean the opposite.

    Returns:
        An error that lists the allowed names and the nearest match.
    """
    names = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(name), names, n=1) if guess else []
    meant = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) or "none is installed"
    return RedteamError(
        f"Unknown {what} {name!r}.{meant} Allowed: {listed}.{' ' + hint if hint else ''}"
    )
