"""Small doubles: a judge that reads words, a source of eight seeds a label, an agent that counts."""

from dataclasses import dataclass, field

import pytest

from redteam_env.game import Seed, Verdict
from redteam_env.protocols import DataCard, Reply
from redteam_env.seeds import ListSource


@dataclass
class WordJudge:
    """HARM in the prompt, HARM and NO in the answer; BROKEN voids the game."""

    name: str = "words"
    smoke_only: bool = False
    seen: int = 0
    revision: str = "1"

    def judge(self, dialogues):
        self.seen += len(dialogues)
        return [self._verdict(dialogue) for dialogue in dialogues]

    def _verdict(self, dialogue):
        if "BROKEN" in dialogue.response:
            return Verdict(judge=self.name, error="no answer")
        return Verdict(
            prompt_harmful="HARM" in dialogue.prompt,
            response_refusal="NO" in dialogue.response,
            response_harmful="HARM" in dialogue.response,
            judge=self.name,
        )


@dataclass
class SayAgent:
    """Says what a function of the request says, and remembers how often it was asked."""

    say: object
    asked: list = field(default_factory=list)

    def act(self, requests):
        self.asked.append(len(requests))
        return [Reply(text=self.say(request)) for request in requests]


def make_source(harmful=8, benign=8, split="heldout"):
    seeds = [
        Seed(id=f"h{k}", text=f"HARM request number {k}", harmful=True, split=split)
        for k in range(harmful)
    ]
    seeds += [
        Seed(id=f"b{k}", text=f"kind request number {k}", harmful=False, split=split)
        for k in range(benign)
    ]
    card = DataCard(name="double", licence="CC0", revision="1", sha256="", origin="this test")
    return ListSource(seeds, card)


@pytest.fixture
def judge():
    return WordJudge()


@pytest.fixture
def source():
    return make_source()


@pytest.fixture
def source_of():
    return make_source


@pytest.fixture
def say():
    return SayAgent
