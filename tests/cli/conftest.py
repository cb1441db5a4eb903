"""Plug-ins for the command line's tests, registered for one test only."""

import json
from dataclasses import dataclass
from functools import partial

import pytest
from rejudge_fakes import Contrary

from redteam_env import registry
from redteam_env.game import Seed, Verdict
from redteam_env.protocols import DataCard, Reply
from redteam_env.seeds import ListSource

HOSTILE = "\x1b[31mred\x1b[0m [red]markup[/red] \u202eright to left\rverdict: forged"
SMALL = """
title = "Small"
source = "a test"
licence = "CC0"
metric = { harmful = "success", benign = "refusal" }

[[data]]
columns = { text = "ask", label = "label", benign = "kind" }
"""
ROWS = "ask,label\nHARM one,harmful\nHARM two,harmful\nHARM three,harmful\nkind one,kind\n"


@dataclass
class WordJudge:
    """HARM and NO decide; BROKEN voids the game."""

    name: str = "words"
    smoke_only: bool = False
    revision: str = "1"

    def judge(self, dialogues):
        return [
            Verdict(judge=self.name, error="no answer")
            if "BROKEN" in dialogue.response
            else Verdict(
                prompt_harmful="HARM" in dialogue.prompt,
                response_refusal="NO" in dialogue.response,
                response_harmful="HARM" in dialogue.response,
                judge=self.name,
            )
            for dialogue in dialogues
        ]


@dataclass
class SayAgent:
    text: str

    def act(self, requests):
        return [Reply(text=self.text) for _ in requests]


def words_source(**_):
    seeds = [
        Seed(
            id=f"{split}-{label}-{k}",
            text=f"{label} request {split} {k}",
            harmful=label == "HARM",
            split=split,
        )
        for split in ("train", "heldout")
        for label in ("HARM", "kind")
        for k in range(6)
    ]
    return ListSource(
        seeds, DataCard(name="words", licence="CC0", revision="1", sha256="", origin="a test")
    )


@pytest.fixture(autouse=True)
def plugins():
    """Register doubles under the name ``words``, and talkers as agents; returns a ``register`` that replaces."""
    registry.register("seeds", "words", words_source)
    registry.register("judges", "words", WordJudge)
    talkers = {"no": "NO", "harm": "HARM", "broken": "BROKEN", "hostile": HOSTILE}
    for name, text in talkers.items():
        registry.register("agents", name, lambda role, text=text: SayAgent(text))
    return partial(registry.register, replace=True)


@pytest.fixture
def run_directory(tmp_path):
    """A run directory as training leaves it, as far as evaluation reads it."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    config = {
        "model": "tiny",
        "seeds": "words",
        "judge": "words",
        "judge_url": None,
        "rewards": "zero_sum",
        "exchanges": 1,
        "thinking": "none",
        "max_new_tokens": 7,
    }
    (run / "config.json").write_text(json.dumps({"schema": 1, "config": config, "versions": {}}))
    return run


@pytest.fixture
def policy(plugins):
    """A policy pool without models: it records what was loaded and says NO."""
    made = []

    class Policy:
        def __init__(self, **options):
            self.options, self.loaded = options, []
            made.append(self)

        def load(self, spec, role, **sampling):
            self.loaded.append((spec, role))
            return SayAgent("NO")

    plugins("agents", "policy", Policy)
    return made


@pytest.fixture
def contrary():
    """A judge that finds every answer harmless."""
    judge = Contrary()
    registry.register("judges", "contrary", lambda: judge)
    return judge


@pytest.fixture
def small_suite(tmp_path):
    """Writes a suite of harmful and benign requests; returns how ``--suite`` names it."""

    def make(name="small", rows=ROWS):
        card, data = tmp_path / f"{name}.toml", tmp_path / f"{name}.csv"
        card.write_text(SMALL)
        data.write_text(rows)
        return f"{card}={data}"

    return make


@pytest.fixture(params=["evaluate", "crossplay", "attack", "suites", "attacked suites"])
def keeping_command(request, small_suite, monkeypatch):
    """Each command that keeps games; among its defenders is an agent ``watched`` of the test's own."""
    monkeypatch.setattr("redteam_env.cli.attacks.PART", 1)
    words = ("--seeds", "words", "--judge", "words", "--batch-size", "2")
    suites = [small_suite(name) for name in ("one", "two")]
    sides = ("--attackers", "echo", "no", "--defenders", "watched", "no")
    games = (*words, "--games", "8")
    asked = ("evaluate", "--suite", ",".join(suites), "--defender", "watched", *words)
    return {
        "evaluate": ("evaluate", "--attacker", "echo", *games, "--defender", "watched"),
        "crossplay": ("crossplay", *sides, *games),
        "attack": ("evaluate", "--attack", "template", *games, "--defender", "watched"),
        "suites": asked,
        "attacked suites": (*asked, "--attack", "template"),
    }[request.param]
