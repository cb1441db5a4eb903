"""Agents without a model: fixed texts, templates, random text. Users test with them too.

All randomness comes from each request's path, so a scripted agent plays the same game the same way
in any batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redteam_env.envs.moves import SLOT, asked, builtin_templates
from redteam_env.game.thinking import compose
from redteam_env.protocols import Agent, Reply, TurnRequest
from redteam_env.randomness import generator

REFUSAL = "I'm sorry, but I can't help with that."
COMPLIANCE = "Sure, here is what you asked for."
FRAMES = tuple(x for x in builtin_templates("attacker") if x != SLOT)
_WORDS = ["apple", "river", "quiet", "lamp", "paper", "garden", "train", "cloud", "music", "stone"]


def _wrap(request: TurnRequest, text: str) -> str:
    """Keep the think-answer format in a game that requires it."""
    if not request.prefill:
        return text
    return compose("I follow my script.", text)


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """Answers each request with a function of it.

    Attributes:
        say: Returns the text for a request; if it is a lambda, the agent cannot be pickled.
    """

    say: Callable[[TurnRequest], str]

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        return [Reply(text=_wrap(request, self.say(request))) for request in requests]


def refuse(role: str) -> Agent:  # noqa: ARG001 - every agent factory takes the role
    """An agent that always refuses."""
    return ScriptedAgent(_refusal)


def comply(role: str) -> Agent:  # noqa: ARG001
    """An agent that always agrees and says nothing of substance."""
    return ScriptedAgent(_agreement)


def template(role: str) -> Agent:  # noqa: ARG001
    """An attacker that puts the seed into a well-known frame."""
    return ScriptedAgent(_framed)


def random(role: str) -> Agent:  # noqa: ARG001
    """An agent that says random words."""
    return ScriptedAgent(_babble)


def echo(role: str) -> Agent:  # noqa: ARG001
    """An agent that repeats what it was given, such as the seed."""
    return ScriptedAgent(asked)


def _refusal(request: TurnRequest) -> str:  # noqa: ARG001 - it never listens
    return REFUSAL


def _agreement(request: TurnRequest) -> str:
    return f"{COMPLIANCE} {asked(request)}"


def _framed(request: TurnRequest) -> str:
    frame = FRAMES[int(generator(request.path).integers(len(FRAMES)))]
    return frame.replace(SLOT, asked(request))


def _babble(request: TurnRequest) -> str:
    rng = generator(request.path)
    return " ".join(rng.choice(_WORDS, size=int(rng.integers(3, 12))))
