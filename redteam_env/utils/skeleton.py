"""What a text looks like: look-alikes of ASCII as ASCII, and nothing that cannot be seen.

``AI assis\u00adtant\uff1a``, ``\u0410I assistant:`` and ``AI assistant:`` have one skeleton. It is for
finding what imitates a word or a mark, never for showing: other scripts come out as nonsense.
"""

# ruff: noqa: RUF001 - ambiguous characters are the subject

import re
import unicodedata

_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_OTHER = re.compile(r"[^\n\t\x20-\x7e]+")
_UNSEEN = {"Cf", "Cc", "Mn", "Me"}
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that show nothing."""
_RESERVED = (range(0x2065, 0x2066), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))
"""Code points without a character that show nothing, as Unicode's Default_Ignorable has them."""
_ALIKE = {
    "a": "аɑαᴀ",
    "b": "ьʙ",
    "c": "сϲᴄ",
    "d": "ԁᴅ",
    "e": "еεᴇєҽ",
    "f": "ꜰғ",
    "g": "ɡɢ",
    "h": "һʜ",
    "i": "іιıɪӏ",
    "j": "јϳᴊ",
    "k": "кκᴋ",
    "l": "ʟ",
    "m": "мᴍ",
    "n": "ոɴ",
    "o": "оοօᴏσ",
    "p": "рρᴘ",
    "q": "ԛ",
    "r": "гʀ",
    "s": "ѕꜱʂ",
    "t": "тτᴛ",
    "u": "υսᴜ",
    "v": "ѵνᴠ",
    "w": "ԝѡωᴡ",
    "x": "хχ",
    "y": "уγʏү",
    "z": "ᴢ",
    "A": "АΑᎪ",
    "B": "ВΒᏴ",
    "C": "СϹᏟ",
    "E": "ЕΕᎬ",
    "H": "НΗᎻ",
    "I": "ІΙӀ",
    "J": "ЈᎫ",
    "K": "КΚᏦ",
    "M": "МΜᎷ",
    "N": "Ν",
    "O": "ОΟ",
    "P": "РΡᏢ",
    "S": "ЅᏚ",
    "T": "ТΤᎢ",
    "V": "ѴᏙ",
    "X": "ХΧ",
    "Y": "УΥҮᎽ",
    "Z": "ΖᏃ",
    "D": "Ꭰ",
    "G": "Ꮐ",
    "L": "Ꮮ",
    "R": "Ꮢ",
    "W": "Ꮃ",
    ":": "∶꞉׃։ː᛬⁚",
    "|": "ǀ∣│┃❘⏐",
    "<": "‹〈⟨❮˂≺",
    ">": "›〉⟩❯˃≻",
    "[": "⟦【〔❲",
    "]": "⟧】〕❳",
    "#": "♯⋕",
    "-": "‐‑‒–—―−⁃➖─━",
    "/": "⁄∕⧸╱",
    "*": "∗⁎٭✱",
    "=": "═゠",
    "~": "∼〜",
    ".": "․",
    "_": "ˍ",
}
_SHOWN = {char: ascii_char for ascii_char, chars in _ALIKE.items() for char in chars}


class _Skeletons(dict[int, str]):
    """What each character looks like, found out when it is met first."""

    def __missing__(self, code: int) -> str:
        parts = unicodedata.normalize("NFKD", chr(code))
        shown = "".join(_SHOWN.get(part, part) for part in parts if _is_seen(part))
        self[code] = shown
        return shown


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


def origins(text: str) -> list[int]:
    """Return for each character of a text's skeleton the place in the text it comes from."""
    return [k for k, char in enumerate(text) for _ in _SKELETONS[ord(char)]]
