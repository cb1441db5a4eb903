"""Where thoughts and answers are marked in a text, however the marks are spelled.

Models mark thoughts in many ways: ``<think>``, ``<Thinking >``, ``[THINK]``, the channels of gpt-oss and
Gemma; and a model under pressure writes them with zero-width, full-width or look-alike letters. All are
found in what the text looks like (:mod:`redteam_env.game.skeleton`), in small letters. Every position is
one of the text as it was written. Finding takes time linear in the text's length.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redteam_env.game.skeleton import is_plain, seen, spans

ANSWER: Final = "answer"
CHANNEL: Final = "channel"
_FENCE: Final = "fence"
WORDS = (
    *("thinking", "think", "thoughts", "thought", "reasoning", "reflection", "scratchpad"),
    *("monologue", "analysis", "cot"),
)
"""The words by which models mark thoughts."""

_WORDS = "|".join(WORDS)
_EDGE = r"(?:begin|start|end)(?:[\s_\u2581-]of)?+[\s_\u2581-]"
# words of other names stand around it: <seed:think>, <redacted_thinking>, <think_fast>, <think2>
_BEFORE = r"(?:(?:[a-z0-9][\w-]{0,19}+:)|(?:[a-z0-9]{1,20}[_.-]){1,4})?(?:ant|re)?"
_BEHIND = r"(?:s|[0-9]{1,4}|(?:[_.-][a-z0-9]{1,20}){1,4})?+"
_MARK = re.compile(
    # <think>, </ think >, <think a="b">, <think/>, <!-- think -->, <\\think>; without its end it is over
    # with its name, so that marks in what follows are found, too
    rf"<(?P<inner>(?:!--)?+\s*+)(?P<close>[/\\]*+)\s*+(?:(?P<edge>{_EDGE})?{_BEFORE}(?P<name>{_WORDS}){_BEHIND}"
    rf"|(?:[a-z][\w-]{{0,19}}+:)?(?P<answer>{ANSWER}))"
    r"(?:(?P<end>(?:(?=[^\w<>])[^<>]*+)?+>)|(?=[\s/<\[]|\Z))"
    # [THINK], [/THINK], [BEGIN_THINKING]
    rf"|\[\s*+(?P<close2>/|{_EDGE})?+\s*+(?P<name2>think|thinking|reasoning|scratchpad)\s*+\]"
    # {think}, (Thought), «/think», [REFLECTION]: plain words, too, so where they open, they count
    # only if they are closed
    rf"|(?P<weak>[\[{{(\u00ab\u226a\u300a\u300c\u300e])\s*+(?P<close3>/|{_EDGE})?+\s*+(?P<name3>{_WORDS})\s*+"
    r"[\]})\u00bb\u226b\u300b\u300d\u300f]"
    # <|channel|>analysis<|message|>, <|channel|>final<|message|>, and what is left of them in plain text
    r"|<\s*+\|\s*+channel\s*+\|\s*+>\s*+(?P<channel>analysis|commentary|final)"
    r"(?:[^<>]{0,200}+<\s*+\|\s*+message\s*+\|\s*+>)?+"
    r"|assistant(?P<plain>analysis|commentary|final)"
    # <|channel>thought, <channel|>
    r"|<(?P<opens>\|)?channel(?(opens)>\s*+[a-z]*+|\|>)"
    # <|begin_of_thought|>, <|end_of_thought|>, <|START_THINKING|>, <|think|>, <|/think|>
    rf"|<\s*+\|\s*+(?P<bar>/|{_EDGE})?+(?P<name4>{_WORDS})\s*+\|\s*+>"
    # [BEGIN FINAL RESPONSE]
    r"|\[\s*+(?P<final>begin final response)\s*+\]"
    # ```thinking, and what closes it
    rf"|(?P<fence>```|~~~)(?:(?P<name5>{_WORDS})[^\S\n]*+(?=\n|\Z))?"
)
_ALIKE = {
    0x25C1: "<",
    0x25B7: ">",
    **dict.fromkeys((*range(0x0B, 0x0E), *range(0x1C, 0x20), 0x85), "\n"),
}
"""Kimi's brackets, and other ends of lines."""
_STEMS = (*WORDS, ANSWER, CHANNEL, "assistant", "final")
"""What every mark holds one of, but fences that close: most texts are known by it to hold none."""


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
    folded, places = _normalised(text)
    if not any(map(folded.__contains__, _STEMS)):
        return []
    found = [(match, _tag(match, places)) for match in _MARK.finditer(folded) if _is_mark(match)]
    closed: set[str] = set()
    kept: list[Tag] = []
    for match, tag in reversed(found):
        if not tag.opens:
            closed.add(tag.name)
        if not (match["weak"] and tag.opens) or tag.name in closed:
            kept.append(tag)
    return _fenced(kept[::-1])


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
    in_angles = match["name"] or match["answer"]
    return not in_angles or bool(match["end"]) or not match["inner"]


def _tag(match: re.Match[str], places: Sequence[tuple[int, int]] | None) -> Tag:
    start, end = match.span()
    name, opens = _meaning(match)
    if places is not None:
        start, end = places[start][0], places[end - 1][1]
    return Tag(name, opens, start, end)


def _meaning(match: re.Match[str]) -> tuple[str, bool]:
    """Return what a mark is called, and whether it opens."""
    if channel := match["channel"] or match["plain"]:
        return CHANNEL, channel != "final"
    if match["fence"]:
        return _FENCE, bool(match["name5"])
    name = next((match[x] for x in ("name", "answer", "name2", "name3", "name4") if match[x]), "")
    if not name:
        return CHANNEL, bool(match["opens"])
    closes = [match[x] for x in ("close", "close2", "close3", "edge", "bar")]
    return name, not any(x and x.startswith(("/", "\\", "end")) for x in closes)


def _fenced(tags: Sequence[Tag]) -> list[Tag]:
    """Leave out the fences that close no thought."""
    kept: list[Tag] = []
    inside = False
    for tag in tags:
        if tag.name != _FENCE or tag.opens or inside:
            kept.append(tag)
        if tag.name == _FENCE:
            inside = tag.opens
    return kept


def _normalised(text: str) -> tuple[str, Sequence[tuple[int, int]] | None]:
    """Return the copy in which marks are looked for, and where each character stood if it is not the text."""
    alike = text if is_plain(text) else text.translate(_ALIKE)
    shown = seen(alike)
    return shown.lower(), None if shown == alike else spans(alike)
