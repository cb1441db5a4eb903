import hashlib
import json

from redteam_env import DataCard, Seed, Verdict
from redteam_env.seeds.source import ListSource

CARD = DataCard(name="tiny", licence="CC0-1.0", revision="1", sha256="", origin="this test")


class HashJudge:
    """Gives every dialogue one of the eight whole verdicts, always the same one."""

    name = "hash"
    smoke_only = True

    def __init__(self):
        self.asked = []

    def judge(self, dialogues):
        self.asked += dialogues
        return [self._verdict(dialogue) for dialogue in dialogues]

    def _verdict(self, dialogue):
        text = json.dumps([[line.seat, line.text] for line in dialogue.lines])
        bits = hashlib.sha256(text.encode()).digest()[0]
        prompt, refusal, harm = bool(bits & 1), bool(bits & 2), bool(bits & 4)
        return Verdict(
            prompt_harmful=prompt, response_refusal=refusal, response_harmful=harm, judge=self.name
        )


def tiny_source():
    return ListSource(
        [
            Seed(
                id=f"{label}-{split}-{k}", text=f"{label} {split} {k}", harmful=harmful, split=split
            )
            for harmful, label in ((True, "harmful"), (False, "benign"))
            for split in ("train", "heldout")
            for k in range(5)
        ],
        CARD,
    )
