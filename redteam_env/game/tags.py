"""Where thoughts and answers are marked in a text, however the marks are spelled.

Models mark thoughts in many ways: ``<think>``, ``<Thinking >``, ``[THINK]``, gpt-oss's channels; and
a model under pressure writes them with zero-width or full-width letters. All are found on a normalised
copy of the text: NFKC, without characters that show nothing, case-folded. Every position is one of the
text as it was written. Finding takes time linear in the text's length.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ANSWER: Final = "answer"
CHANNEL: Final = "channel"
WORDS = ("thinking", "think", "thoughts", "thought", "reasoning", "reflection", "scratchpad")
"""The words by which models mark thoughts."""

_WORDS = "|".join(WORDS)
# models of some families put their own name before the word: <seed:think>
_NAME = rf"(?:[a-z][\w-]{{0,19}}+:)?(?P<name>{_WORDS}|{ANSWER})"
_MARK = re.compile(
    # <think>, </ think >, <think a="b">, <think/>; without its end it is over with its name, so that
    # marks in what follows are found, too
    rf"<(?P<inner>\s*+)(?P<close>/?+)\s*+{_NAME}"
    r"(?:(?P<end>(?:(?=[\s/])[^<>]*+)?+>)|(?=[\s/<\[]|\Z))"
    # [THINK], [/THINK]
    r"|\[\s*+(?P<close2>/?+)\s*+(?P<name2>think|thinking|reasoning|scratchpad)\s*+\]"
    # <|channel|>analysis<|message|>, <|channel|>final<|message|>
    r"|<\s*+\|\s*+channel\s*+\|\s*+>\s*+(?P<channel>analysis|commentary|final)"
    r"(?:[^<>]{0,200}+<\s*+\|\s*+message\s*+\|\s*+>)?+"
    # <|begin_of_thought|>, <|end_of_thought|>, <|START_THINKING|>, <|think|>, <|/think|>
    r"|<\s*+\|\s*+(?P<bar>/|(?:start|begin|end)(?:[\s_\u2581]of)?+[\s_\u2581])?+"
    rf"(?P<name3>{_WORDS})\s*+\|\s*+>"
)
_BRACKETS = {"\u25c1": "<", "\u25b7": ">", "\u27e8": "<", "\u27e9": ">", "\u3008": "<"} | {
    "\u3009": ">",
    "\u2039": "<",
    "\u203a": ">",
}
"""Brackets that stand for angle brackets and that NFKC keeps: Kimi's and look-alikes."""
_OPENERS = re.compile("[<\\[\ufe47\ufe64\uff1c\uff3b\u2329\u25c1\u27e8\u3008\u2039]")
"""What a mark may begin with, before it is normalised."""
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {
    chr(k) for span in (range(0x180B, 0x1810), range(0xFE00, 0xFE10)) for k in span
}
"""Characters that show nothing and are no format characters (Unicode's Default_Ignorable)."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One mark in a text.

    Attributes:
        name: What it marks: a word of :data:`WORDS`, ``channel``, or ``answer``.
        opens: Whether the thought or answer begins here; otherwise it ends here.
        start: Where the mark begins.
        end: Where it ends.
    """

    name: str
    opens: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought in a text, from the start of its opening mark to the end of its closing one.

    Attributes:
        start: Where it begins; 0 if it is closed without having been opened.
        end: Where it ends; the text's end if nothing closes it.
        inner: The positions between the marks.
        closed: Whether it was finished.
    """

    start: int
    end: int
    inner: tuple[int, int]
    closed: bool


def find_tags(text: str) -> list[Tag]:
    """Return every mark of a thought or an answer, in order."""
    if not _OPENERS.search(text):
        return []
    folded, places = _normalised(text)
    return [_tag(match, places) for match in _MARK.finditer(folded) if _is_mark(match)]


def find_thoughts(text: str, tags: Sequence[Tag], *, opened: bool = False) -> list[Thought]:
    """Return the thoughts of a text, in order and apart from each other.

    Thoughts of one name nest. A mark that closes what was never opened closes a thought that began
    with the text: the mark that opened it stood in the prompt. What nothing closes goes on to the end.

    Args:
        text: The text.
        tags: Its marks, from :func:`find_tags`.
        opened: Whether the text begins within a thought.
    """
    found: list[Thought] = []
    stack = [Tag("", True, 0, 0)] if opened else []
    inside = Counter(tag.name for tag in stack)
    for tag in tags:
        if tag.name == ANSWER:
            continue
        if tag.opens:
            stack.append(tag)
            inside[tag.name] += 1
        elif inside[tag.name] or inside[""] or not stack:
            start = _closed(stack, inside, tag.name)
            if start is None:
                found = [Thought(0, tag.end, (0, tag.start), closed=True)]
            elif not stack:
                found.append(Thought(start.start, tag.end, (start.end, tag.start), closed=True))
    if stack:
        first = stack[0]
        found.append(Thought(first.start, len(text), (first.end, len(text)), closed=False))
    return found


def _closed(stack: list[Tag], inside: Counter[str], name: str) -> Tag | None:
    """Take the innermost thought of a name off the stack with all in it; ``None`` if it is empty."""
    wanted = name if inside[name] else ""
    while stack:
        tag = stack.pop()
        inside[tag.name] -= 1
        if tag.name == wanted:
            return tag
    return None


def _is_mark(match: re.Match[str]) -> bool:
    """A tag without its end is a mark only if nothing stands between bracket and word."""
    return match["name"] is None or bool(match["end"]) or not match["inner"]


def _tag(match: re.Match[str], places: Sequence[int]) -> Tag:
    start, end = match.span()
    if match["channel"]:
        name, opens = CHANNEL, match["channel"] != "final"
    elif match["name"]:
        name, opens = match["name"], not match["close"]
    elif match["name2"]:
        name, opens = match["name2"], not match["close2"]
    else:
        name, opens = match["name3"], not (match["bar"] or "").startswith(("/", "end"))
    return Tag(name, opens, places[start], places[end - 1] + 1)


def _normalised(text: str) -> tuple[str, Sequence[int]]:
    """Return the copy in which marks are looked for, and where each of its characters stood."""
    if text.isascii() and text.isprintable():
        return text.lower(), range(len(text))
    chars: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for plain in _plain(char):
            chars.append(plain)
            places.append(place)
    return "".join(chars), places


def _plain(char: str) -> str:
    if char.isascii():
        return char.lower() if char.isprintable() or char.isspace() else ""
    if char in _UNSEEN or unicodedata.category(char) in {"Cf", "Cc"}:
        return " " if char.isspace() else ""
    folded = unicodedata.normalize("NFKC", char).casefold()
    return "".join(_BRACKETS.get(x, x) for x in folded)
