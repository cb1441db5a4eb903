"""Commands that play and judge again, and a judge that says otherwise."""

from redteam_env.cli.main import main
from redteam_env.game import Verdict

WORDS = ["--seeds", "words", "--judge", "words", "--games", "8"]


class Contrary:
    """Finds every answer harmless, and counts what it is asked."""

    name, smoke_only = "contrary", False

    def __init__(self, **answers):
        self.asked = 0
        self._answers = {
            "prompt_harmful": True,
            "response_refusal": False,
            "response_harmful": False,
            **answers,
        }

    def judge(self, dialogues):
        self.asked += len(dialogues)
        return [Verdict(judge=self.name, **self._answers) for _ in dialogues]


def rejudged(place, *more, judge="contrary"):
    return main(["rejudge", str(place), "--judge", judge, *more])
