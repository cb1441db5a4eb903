"""Judges and seeds for tiny runs, and what the tests of training compare."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redteam_env.game import Dialogue, Seed, Verdict
from redteam_env.protocols import DataCard
from redteam_env.seeds import ListSource


@dataclass
class WordJudge:
    """Deterministic, and undecided enough that rewards differ between games."""

    name: str = "words"
    smoke_only: bool = True

    def judge(self, dialogues):
        return [self.verdict(dialogue) for dialogue in dialogues]

    def verdict(self, dialogue: Dialogue) -> Verdict:
        bits = hashlib.sha256(f"{dialogue.prompt}|{dialogue.response}".encode()).digest()[0]
        return Verdict(
            prompt_harmful=bool(bits & 1),
            response_refusal=bool(bits & 2),
            response_harmful=bool(bits & 4),
            judge=self.name,
        )


@dataclass
class CallbackJudge(WordJudge):
    """Calls a function before each judgement: to press Ctrl-C, to crash, to void games."""

    before: Callable[[], None] = lambda: None

    def judge(self, dialogues):
        self.before()
        return super().judge(dialogues)


def words_source(**_) -> ListSource:
    seeds = [
        Seed(
            id=f"{split}-{label}-{k}",
            text=f"{label} {split} {k}",
            harmful=label == "bad",
            split=split,
        )
        for split in ("train", "heldout")
        for label in ("bad", "good")
        for k in range(6)
    ]
    card = DataCard(name="words", licence="CC0", revision="1", sha256="", origin="a test")
    return ListSource(seeds, card)


def metrics(run: Path) -> list[dict]:
    """The rows of a run, without the clock."""
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith("time/")}
        for line in lines
    ]


def contents(run: Path, *folders: str) -> dict[str, bytes]:
    """Every byte under some folders of a run."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for folder in folders
        for path in sorted((Path(run) / folder).rglob("*"))
        if path.is_file()
    }


class PowerCutError(KeyboardInterrupt):
    """What ends a run in the middle of a step, as a power cut would: nothing that names errors catches it."""
