"""What a text looks like: look-alikes of ASCII as ASCII, and nothing that cannot be seen.

``AI assis\u00adtant\uff1a``, ``\u0410I assistant:`` and ``AI assistant:`` have one skeleton. It is for
finding what imitates a word or a mark, never for showing: other scripts come out as nonsense.
"""

import html
import re
import sys
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from redteam_env.game.look_alikes import ALIKE

_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_OTHER = re.compile(r"[^\n\t\x20-\x7e]+")
_UNSEEN = {"Cf", "Cc", "Mn", "Me"}
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that show nothing."""
_RESERVED = (range(0x2065, 0x2066), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))
"""Code points without a character that show nothing, as Unicode's Default_Ignorable has them."""
_LETTERS = (range(0x1F150, 0x1F16A), range(0x1F170, 0x1F18A), range(0x1F1E6, 0x1F200))
"""Letters in signs, from A on."""
_SPELLED = re.compile(
    r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});?"
    r"|\\(?:u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[nr])"
    r"|%[2-7][0-9a-fA-F]"
)
"""Characters that are spelled out: in HTML, in source code, in a web address."""
_SHOWN = {char: ascii_char for ascii_char, chars in ALIKE.items() for char in chars}


class _Skeletons(dict[int, str]):
    """What each character looks like, found out when it is met first."""

    def __missing__(self, code: int) -> str:
        char = _letter(code) or _SHOWN.get(chr(code), chr(code))
        parts = unicodedata.normalize("NFKD", char)
        shown = "".join(_SHOWN.get(part, part) for part in parts if _is_seen(part))
        self[code] = shown
        return shown


def _letter(code: int) -> str | None:
    return next((chr(65 + code - span[0]) for span in _LETTERS if code in span), None)


def _is_seen(char: str) -> bool:
    if char in "\n\t":
        return True
    reserved = any(ord(char) in span for span in _RESERVED)
    return not (reserved or unicodedata.category(char) in _UNSEEN or char in _FILLERS)


_SKELETONS = _Skeletons()


def skeleton(text: str) -> str:
    """Return what a text looks like.

    Args:
        text: The text; line ends are newlines, and stay.

    Returns:
        The skeleton, which may be shorter or longer; of printable ASCII, the text itself.
    """
    if is_plain(text):
        return text
    return _OTHER.sub(lambda match: match[0].translate(_SKELETONS), text)


def is_plain(text: str) -> bool:
    """Whether a text is its own skeleton: printable ASCII, tabs and newlines."""
    return text.isascii() and _PLAIN.fullmatch(text) is not None


def seen(text: str) -> str:
    """Return what a text looks like to who reads characters that are spelled out, too, such as ``&lt;``.

    Args:
        text: The text.

    Returns:
        The skeleton of what is so read; the text itself if it is plain and spells nothing.
    """
    if "&" in text or "\\" in text or "%" in text:
        text = _SPELLED.sub(lambda match: _read(match[0]), text)
    return skeleton(text)


def spans(text: str) -> list[tuple[int, int]]:
    """Return for each character of what is :func:`seen` where what it comes from begins and ends in the text."""
    return [(k, end) for char, k, end in _characters(text) for _ in skeleton(char)]


def _characters(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the characters of a text, those that are spelled out as what they spell."""
    last = 0
    for match in _SPELLED.finditer(text):
        yield from ((text[k], k, k + 1) for k in range(last, match.start()))
        yield _read(match[0]), *match.span()
        last = match.end()
    yield from ((text[k], k, k + 1) for k in range(last, len(text)))


def _read(spelled: str) -> str:
    """Return what a spelled character is; a line end of any kind as a newline."""
    if spelled.startswith("&"):
        read = html.unescape(spelled)
    elif spelled.startswith("%"):
        read = unquote(spelled)
    elif spelled[1] in "nr":
        read = "\n"
    else:
        code = int(spelled[2:].strip("{}"), 16)
        read = chr(code) if code <= sys.maxunicode else spelled
    return "\n" if read == "\r" else read
