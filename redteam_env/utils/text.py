"""Showing hostile text: what a model wrote must not drive the terminal it is printed on."""

import unicodedata

from rich.text import Text

_KEEP = "\n\t"
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def escape_controls(text: str) -> str:
    r"""Return the text with control, format and unassigned characters spelled out.

    Escape sequences, carriage returns, bidirectional overrides and zero-width characters become
    visible as ``\x1b``, ``\u202e`` and so on; newline and tab stay.
    """
    return "".join(
        char
        if char in _KEEP or unicodedata.category(char) not in _UNSAFE
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def safe_text(text: str, style: str = "") -> Text:
    """Return hostile text for printing with rich: no markup is read, no control passes."""
    return Text(escape_controls(text), style=style)
