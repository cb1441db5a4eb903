"""Hostile text: what a model wrote must drive neither a terminal nor another model's chat template."""

import re
import unicodedata

from rich.text import Text

_KEEP = "\n\t"
_CHAT_TAG = re.compile(
    # <|im_start|>, <\uff5cUser\uff5c>; and Gemma's <turn|>, <channel|>
    r"<(?=[|\uff5c]|[a-z_]{1,30}[|\uff5c]>"
    r"|/?(?:s|pad|unk|bos|eos|sop|eop|eod|eot|sep|cls|mask|sys|start_of_turn|end_of_turn"
    r"|(?:[a-z]{1,20}:)?(?:bos|eos|pad|unk|think)|(?:bos|eos|pad|unk|cls|sep|mask)_token|eo[ha]|eosys"
    r"|role|tool_call|tool_response|end_of_(?:utterance|text)"
    r"|extra_id_\d+|special_\d+|reserved_\d+|unused\d+)>)",
    re.IGNORECASE,
)
_BRACKET_TAG = re.compile(
    r"\[(?=/?(?:[A-Z][A-Z_ ]+|(?i:inst|[gs]mask|control_\d+))\]"
    # EXAONE's [|user|]; MiniMax's [e~[, ]~b], ]~!b[
    r"|\|(?i:[a-z_]{1,30})\|\]|e~\[)|\](?=~!?b[\[\]])"
)
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
    ``<unk>``, ``<bos>``, ``<eos>``, ``<<SYS>>``, ``<think>``, Gemma's turns) and of bracketed tags
    (``[INST]``, ``[/INST]``, ``[CAPITALS]``, ``[control_1]``, ``[|user|]``, ``]~b]``): ``< |user|>``,
    ``[ /INST]``. Nothing else is changed, and what is broken already stays as it is.
    """
    if "<" in text:
        text = _CHAT_TAG.sub("< ", text)
    return _BRACKET_TAG.sub(r"\g<0> ", text) if "[" in text or "]" in text else text


def chat_tokens(text: str) -> list[int]:
    """Return where in a text the control tokens begin that :func:`break_chat_tokens` breaks."""
    return [
        match.start() for pattern in (_CHAT_TAG, _BRACKET_TAG) for match in pattern.finditer(text)
    ]
