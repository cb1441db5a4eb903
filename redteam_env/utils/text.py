"""Hostile text: what a model wrote must drive neither a terminal nor another model's chat template."""

import re
import unicodedata

from rich.text import Text

_KEEP = "\n\t"
_CHAT_TAG = re.compile(
    r"<(?=[|\uff5c]|/?(?:s|pad|unk|bos|eos|sop|eop|sys|start_of_turn|end_of_turn"
    r"|extra_id_\d+|reserved_\d+|unused\d+)>)",
    re.IGNORECASE,
)
_BRACKET_TAG = re.compile(r"\[(?=/?(?:[A-Z][A-Z_ ]+|(?i:inst|[gs]mask|control_\d+))\])")
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def escape_controls(text: str) -> str:
    r"""Return the text with control, format and unassigned characters spelled out.

    Escape sequences, carriage returns, bidirectional overrides and zero-width characters become
    visible as ``\x1b``, ``\u202e`` and so on; newline and tab stay.
    """
    if text.isprintable():  # then no character is of the categories below; it is much faster
        return text
    return "".join(
        char
        if char in _KEEP or unicodedata.category(char) not in _UNSAFE
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def safe_text(text: str, style: str = "") -> Text:
    """Return hostile text for printing with rich: no markup is read, no control passes."""
    return Text(escape_controls(text), style=style)


def break_chat_tokens(text: str) -> str:
    """Return the text with the control tokens of the known chat families broken.

    A space is put behind the first character of chat tags (``<|...``, ``<s>``, ``</s>``, ``<pad>``,
    ``<unk>``, ``<bos>``, ``<eos>``, ``<<SYS>>``, Gemma's turns) and of bracketed tags (``[INST]``,
    ``[/INST]``, ``[CAPITALS]``, ``[control_1]``): ``< |user|>``, ``[ /INST]``. Nothing else is changed,
    and what is broken already stays as it is.
    """
    if "<" in text:
        text = _CHAT_TAG.sub("< ", text)
    return _BRACKET_TAG.sub("[ ", text) if "[" in text else text


def chat_tokens(text: str) -> list[int]:
    """Return where in a text the control tokens begin that :func:`break_chat_tokens` breaks."""
    return [
        match.start() for pattern in (_CHAT_TAG, _BRACKET_TAG) for match in pattern.finditer(text)
    ]
