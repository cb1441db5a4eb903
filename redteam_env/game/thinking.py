"""Hidden thoughts: the one place that decides which part of an action is public.

The format is Self-RedTeam's (arXiv 2506.07468): a thought, ``</think>``, then one
``<answer>...</answer>`` and nothing after it. Where Self-RedTeam passes a malformed text on as a
whole, so that thoughts leak to opponent and judge, a malformed turn here shows its only answer part
or is forfeit; ``leak_on_violation`` reproduces the original.

A model's *native* thought is another thing: its template or server opens it, and it stands before
whatever the model then says. :func:`take_thoughts` takes it off before these rules see the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from redteam_env.game.tags import ANSWER, Tag, find_tags, find_thoughts

PREFILL_SENTENCE = "Let's think step by step."
PREFILL = f"{PREFILL_SENTENCE}\n<think> "

OPEN, CLOSE, ANSWER_OPEN, ANSWER_CLOSE = "<think>", "</think>", "<answer>", "</answer>"
TAGS = (OPEN, CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
"""The tags of the format, as it is to be written."""


class Thinking(StrEnum):
    """Whether a seat thinks before it speaks.

    ``none``: tags have no meaning. ``optional``: a text without any tag is public as it stands, and
    one with a tag must be well-formed. ``required``: every text must be well-formed.
    """

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Split:
    """An action taken apart.

    Attributes:
        visible: The public part.
        thought: The rest.
        well_formed: Whether the format was kept.
        forfeit: Whether there is no public part at all.
    """

    visible: str
    thought: str
    well_formed: bool
    forfeit: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a model wrote, without its native thoughts.

    Attributes:
        text: What it said.
        thought: What it thought.
        finished: Whether every thought was closed.
    """

    text: str
    thought: str = ""
    finished: bool = True


def compose(thought: str, answer: str) -> str:
    """Return a turn in the format, to be put behind :data:`PREFILL`."""
    return f"{thought}{CLOSE}{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"


def take_thoughts(text: str, *, opened: bool = False) -> Spoken:
    """Take a model's native thoughts off what it wrote.

    For turns that are not asked for the game's format: there, thought and answer are the format's.

    Args:
        text: What the model wrote.
        opened: Whether the chat template had opened a thought, so that the text begins within one.

    Returns:
        What is left, and the thoughts. A text without thoughts comes back as it is.
    """
    thoughts = find_thoughts(text, find_tags(text), opened=opened)
    if not thoughts:
        return Spoken(text)
    edges = [0, *(place for x in thoughts for place in (x.start, x.end)), len(text)]
    said = [text[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True)]
    inner = [text[slice(*x.inner)].strip() for x in thoughts]
    return Spoken(
        text=_join([part for part in said if part]),
        thought="\n".join(filter(None, inner)),
        finished=thoughts[-1].closed,
    )


def _join(parts: Sequence[str]) -> str:
    """Join what stood around thoughts by a line end, or by dots where that would make a new mark."""
    joined = "\n".join(parts)
    if len(parts) < 2 or len(find_tags(joined)) == sum(len(find_tags(part)) for part in parts):
        return joined
    return "\n\N{HORIZONTAL ELLIPSIS}\n".join(parts)


def cut_action(text: str, limit: int) -> str:
    """Cut an action to the character limit without hiding that it held a tag.

    A thought may be longer than the limit, its closing tag beyond it; the text before would then
    look like one without tags, and a thought would become public. So a text whose tags would all be
    cut off keeps the first of them at its end, and the format rules still see it.

    Args:
        text: The action.
        limit: Most characters.

    Returns:
        At most ``limit`` characters.
    """
    if len(text) <= limit:
        return text
    cut = text[:limit]
    tags = find_tags(text)
    if not tags or find_tags(cut):
        return cut
    kind = 2 * (tags[0].name == ANSWER) + (not tags[0].opens)
    first = TAGS[kind]
    return (text[: min(tags[0].start, max(0, limit - len(first)))] + first)[:limit]


def split_action(
    text: str, thinking: Thinking, *, thought: bool = False, leak_on_violation: bool = False
) -> Split:
    """Decide what of an action is public.

    Args:
        text: The action.
        thinking: The rule for the seat that acted.
        thought: Whether the model's native thought was taken off the text. It stands for the thought
            of the format, and a text of which nothing is left is forfeit under every rule.
        leak_on_violation: Show a malformed text as a whole, as Self-RedTeam's code does.

    Returns:
        The public part and the thought; both are parts of ``text`` and have no part in common.
    """
    if thought and not text.strip():
        return Split("", text, well_formed=False, forfeit=True)
    if thinking is Thinking.NONE:
        return Split(text, "", well_formed=True, forfeit=False)
    body = text.strip().removeprefix(PREFILL_SENTENCE).lstrip()
    opened = body.startswith(OPEN)
    body = body.removeprefix(OPEN)
    tags = find_tags(body)
    if thinking is Thinking.OPTIONAL and not opened and not tags:
        return Split(text, "", well_formed=True, forfeit=False)
    if found := _well_formed(body, tags, thought=thought and not opened):
        return found
    if leak_on_violation:
        return Split(text, "", well_formed=False, forfeit=False)
    return _salvage(body, tags, opened=opened)


def _well_formed(body: str, tags: Sequence[Tag], *, thought: bool) -> Split | None:
    """Take a text apart that keeps the format; within its thought, only the format's own tags count."""
    counts = [body.count(tag) for tag in TAGS]
    if counts != [0, 1, 1, 1] and not (thought and counts == [0, 0, 1, 1]):
        return None
    answer, end = body.index(ANSWER_OPEN), body.index(ANSWER_CLOSE)
    head = body[:answer].rstrip()
    inner = head.removesuffix(CLOSE).strip()
    said = body[answer + len(ANSWER_OPEN) : end].strip()
    kept = head.endswith(CLOSE) and bool(inner) if counts[1] else not head
    if not kept or not said or body[end + len(ANSWER_CLOSE) :].strip():
        return None
    if any(tag.name != ANSWER and answer < tag.start < end for tag in tags):
        return None
    return Split(said, inner, well_formed=True, forfeit=False)


def _salvage(body: str, tags: Sequence[Tag], *, opened: bool) -> Split:
    """Show the only answer part of a malformed text, if no thought was open where it stands."""
    answers = [tag for tag in tags if tag.name == ANSWER]
    if [tag.opens for tag in answers] == [True, False]:
        start, end = answers
        thoughts = find_thoughts(body, tags, opened=opened)
        said = body[start.end : end.start].strip()
        if said and all(x.end <= start.start or x.start >= end.end for x in thoughts):
            rest = (body[: start.start] + body[end.end :]).strip()
            return Split(said, rest, well_formed=False, forfeit=False)
    return Split("", body, well_formed=False, forfeit=True)
