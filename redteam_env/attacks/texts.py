"""What the attacker's model is told: text files beside the code, and the chats made from them."""

import re
from functools import cache
from importlib import resources

from redteam_env.attacks.search import CLOSE, OPEN, Case, score
from redteam_env.game import DEFENDER, Episode, Messages

MOST_SHOWN = 2000
"""Most characters of the defender's answer that the attacker's model is shown."""

_SLOT = re.compile(r"\{(\w+)\}")


@cache
def _read(name: str) -> str:
    file = resources.files("redteam_env.attacks") / "prompts" / f"{name}.txt"
    return file.read_text(encoding="utf-8").strip()


def text_of(name: str, **slots: str) -> str:
    """Return a text with its slots filled; nothing in what fills them is read as a slot."""
    return _SLOT.sub(lambda found: slots[found[1]], _read(name))


def opening(name: str, case: Case, **slots: str) -> Messages:
    """Return the chat that the attacker's model starts from.

    Args:
        name: The text with its instructions.
        case: The seed.
        **slots: What else the instructions hold.
    """
    label = "harmful" if case.setup.seed.harmful else "benign"
    return [
        {"role": "system", "content": text_of(name, **slots)},
        {"role": "user", "content": text_of(f"goal_{label}", goal=case.goal)},
    ]


def told(message: str, episode: Episode) -> Messages:
    """Return what a chat goes on with after a message: the message, and what came of it."""
    said = [turn.visible for turn in episode.turns if turn.seat == DEFENDER]
    feedback = text_of(
        "feedback",
        answer=said[-1][:MOST_SHOWN] if said else "",
        score=str(round(1 + 9 * max(0.0, score(episode)))),
    )
    return after(message, feedback)


def after(message: str, reaction: str) -> Messages:
    """Return what a chat goes on with after a message."""
    return [
        {"role": "assistant", "content": f"{OPEN}{message}{CLOSE}"},
        {"role": "user", "content": reaction},
    ]
