"""Hidden thoughts: the one place that decides which part of an action is public.

The format is Self-RedTeam's (arXiv 2506.07468): a thought, ``</think>``, then one
``<answer>...</answer>`` and nothing after it. Where Self-RedTeam passes a malformed text on as a
whole, so that thoughts leak to opponent and judge, a malformed turn here shows its only answer part
or is forfeit; ``leak_on_violation`` reproduces the original.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

PREFILL_SENTENCE = "Let's think step by step."
PREFILL = f"{PREFILL_SENTENCE}\n<think> "

OPEN, CLOSE, ANSWER_OPEN, ANSWER_CLOSE = "<think>", "</think>", "<answer>", "</answer>"
TAGS = (OPEN, CLOSE, ANSWER_OPEN, ANSWER_CLOSE)

_WELL_FORMED = re.compile(
    rf"(?P<thought>.*){CLOSE}\s*{ANSWER_OPEN}(?P<answer>.*){ANSWER_CLOSE}", re.DOTALL
)
_ANSWER = re.compile(rf"{ANSWER_OPEN}(?P<answer>.*?){ANSWER_CLOSE}", re.DOTALL)


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


def compose(thought: str, answer: str) -> str:
    """Return a turn in the format, to be put behind :data:`PREFILL`."""
    return f"{thought}{CLOSE}{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"


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
    cut = text[:limit]
    first = min((text.find(tag), tag) for tag in TAGS if tag in text) if _tagged(text) else None
    if first is None or _tagged(cut):
        return cut
    return (text[: max(0, limit - len(first[1]))] + first[1])[:limit]


def _tagged(text: str) -> bool:
    return any(tag in text for tag in TAGS)


def split_action(text: str, thinking: Thinking, *, leak_on_violation: bool = False) -> Split:
    """Decide what of an action is public.

    Args:
        text: The action.
        thinking: The rule for the seat that acted.
        leak_on_violation: Show a malformed text as a whole, as Self-RedTeam's code does.

    Returns:
        The public part and the thought; both are parts of ``text``.
    """
    if thinking is Thinking.NONE:
        return Split(text, "", well_formed=True, forfeit=False)
    if thinking is Thinking.OPTIONAL and not _tagged(text):
        return Split(text, "", well_formed=True, forfeit=False)
    body = text.strip().removeprefix(PREFILL_SENTENCE).lstrip().removeprefix(OPEN)
    match = _WELL_FORMED.fullmatch(body)
    if match and sum(body.count(tag) for tag in TAGS) == 3:
        thought, answer = match["thought"].strip(), match["answer"].strip()
        if thought and answer:
            return Split(answer, thought, well_formed=True, forfeit=False)
    if leak_on_violation:
        return Split(text, "", well_formed=False, forfeit=False)
    return _salvage(body)


def _salvage(body: str) -> Split:
    """Show the answer part of a malformed text if there is exactly one and it is clean."""
    match = _ANSWER.search(body)
    if match and body.count(ANSWER_OPEN) == body.count(ANSWER_CLOSE) == 1:
        answer = match["answer"].strip()
        if answer and OPEN not in answer and CLOSE not in answer:
            thought = (body[: match.start()] + body[match.end() :]).strip()
            return Split(answer, thought, well_formed=False, forfeit=False)
    return Split("", body, well_formed=False, forfeit=True)
