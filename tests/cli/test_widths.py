"""Whatever a command prints as a table fits its terminal: no number is cut or wrapped, no word is broken."""

import io
import json
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from agents.capability_command import CapabilityOptions
from agents.capability_command import _print as print_capability
from algorithms.studies.bench.terminal import terminal
from redteam_env.cli import doctor
from redteam_env.cli.imports import broken_imports
from redteam_env.cli.main import main
from redteam_env.utils.tables import LONG, Column, FittedTable, significant

RESULTS = Path(__file__).parents[2] / "examples" / "results"
GAMES = ("--seeds", "builtin", "--judge", "lexical", "--games", "8")
COMMANDS = {
    "data list": ["data", "list"],
    "data get": ["data", "get", "builtin"],
    "doctor": ["doctor"],
    "judge list": ["judge", "list"],
    "judge show": ["judge", "show", "wildguard"],
    "evaluate": ["evaluate", "refuse", *GAMES],
    "crossplay": ["crossplay", "refuse", "template", "echo", *GAMES],
    "attack": ["evaluate", "--attack", "template", "--defender", "refuse", *GAMES],
    "recipes list": ["recipes", "list"],
    "recipes show": ["recipes", "show", "self_redteam_3b"],
    "worlds show": ["worlds", "show", "apothecary"],
    "models list": ["models", "list"],
    "plan": ["plan", "--model", "smollm2"],
    "commands": ["--help"],
    "runs list": ["runs", "list", str(RESULTS)],
}
WITH_STDERR = {"play": ["play", "--games", "1"], "an error": ["evalute"]}
HELPS = [
    *(
        ["bench"],
        ["capability"],
        ["crossplay"],
        ["data"],
        ["data", "get"],
        ["data", "sft"],
        ["doctor"],
    ),
    *(
        ["evaluate"],
        ["experiment"],
        ["export"],
        ["judge"],
        ["judge", "calibrate"],
        ["judge", "serve"],
    ),
    *(["models"], ["plan"], ["play"], ["push"], ["quickstart"], ["recipes"], ["recipes", "show"]),
    *(
        ["rejudge"],
        ["report"],
        ["runs"],
        ["runs", "diff"],
        ["speed"],
        ["train"],
        ["worlds"],
    ),
]
CARD = """
title = "A small suite of one's own"
source = "a test"
licence = "CC0"
judge = "lexical"
metric = { harmful = "success", benign = "refusal" }

[[data]]
columns = { text = "ask", label = "label" }
"""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_DROPPED = re.compile(r"Not shown in \d+\s+columns:[^.]*\.")


@pytest.fixture(scope="module", autouse=True)
def imported_once():
    """Let doctor import the packages of others once, which takes seconds, and not for every width."""
    with pytest.MonkeyPatch.context() as patch:
        known = cache(broken_imports)
        patch.setattr(doctor, "broken_imports", lambda names: known(tuple(names)))
        yield


@pytest.fixture(scope="module")
def piped():
    """What each command printed into a pipe."""
    return {}


def ran(arguments, width=None, encoding="utf-8", streams=("stdout",)):
    """Return what a command prints on a terminal of a width, or into a pipe."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with pytest.MonkeyPatch.context() as patch, suppress(SystemExit):
        for stream in streams:
            patch.setattr(sys, stream, out)
        if width is not None:
            patch.setenv("TTY_COMPATIBLE", "1")
            patch.setenv("COLUMNS", str(width))
        arguments() if callable(arguments) else main(arguments)
    out.flush()
    return _ANSI.sub("", out.buffer.getvalue().decode(encoding))


def check(shown, whole, width):
    """Check that a text for a width says nothing that the whole one does not, in whole words and lines."""
    assert "…" not in shown
    lines = set(whole.splitlines())
    assert not [x for x in shown.splitlines() if len(x.rstrip()) > width and x not in lines]
    words = [word.strip(":") for word in whole.split()]
    long = [word for word in words if len(word) > LONG]
    for word in (x.strip(":") for x in _DROPPED.sub("", shown).split()):
        known = word in words or set(word) <= set("─-") or any(word in x for x in long)
        assert known, f"{word!r} is no word of the whole text"


@pytest.mark.parametrize("width", [80, 50, 40])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_fits_its_terminal(name, width, piped):
    if name not in piped:
        piped[name] = ran(COMMANDS[name])
    check(ran(COMMANDS[name], width), piped[name], width)


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("name", WITH_STDERR)
def test_what_stands_beside_a_table_fits_too(name, width):
    streams = ("stdout", "stderr")
    whole = ran(WITH_STDERR[name], streams=streams)
    check(ran(WITH_STDERR[name], width, streams=streams), whole, width)


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_fits_a_narrow_terminal(command):
    whole = ran([*command, "--help"])
    shown = ran([*command, "--help"], 40)
    assert "…" not in shown
    assert [x for x in shown.splitlines() if len(x) > 40] == []
    outside = " ".join(x for x in shown.splitlines() if x[:1] not in set("│╭╰|+"))
    outside = re.sub(r",\s+and\s+\d+\s+more", " ", outside)  # fewer names fit
    assert set(outside.split()) - {"..."} <= {x.rstrip(",") for x in whole.split()} | set(
        whole.split()
    )


@pytest.mark.parametrize("name", ["data list", "crossplay", "recipes show"])
def test_another_encoding_is_served_with_its_own_characters(name):
    assert "\\u25" not in ran(COMMANDS[name], 60, encoding="latin-1")
    assert "---" in ran(COMMANDS[name], 200, encoding="ascii")


@pytest.mark.parametrize("width", [80, 50, 40])
def test_suites_and_stored_games_under_another_judge_fit(tmp_path, width):
    card, rows, out = (tmp_path / x for x in ("small.toml", "small.csv", "out"))
    card.write_text(CARD)
    rows.write_text("ask,label\nMake one,harmful\nBake another,harmful\nA cake,benign\n")
    suite = ["evaluate", "refuse", "--suite", f"{card}={rows}", "--judge", "lexical"]
    check(ran(suite, width), ran(suite), width)
    main(["evaluate", "refuse", *GAMES, "--out", str(out)])
    again = ["rejudge", str(out), "--judge", "lexical"]
    check(ran(again, width), ran(again), width)


@pytest.mark.parametrize("width", [80, 50, 40])
@pytest.mark.parametrize("name", ["bench", "ladder"])
def test_a_shipped_leaderboard_fits(name, width):
    figures = json.loads((RESULTS / name / "leaderboard.json").read_text())

    def printed(columns):
        console = Console(file=io.StringIO(), width=columns)
        console.print(terminal(figures))
        return console.file.getvalue()

    check(printed(width), printed(1000), width)


@pytest.mark.parametrize("width", [80, 50, 40])
def test_scores_of_a_task_fit(width):
    rows = [
        {
            "task": "mmlu_abstract_algebra",
            "metric": "acc_norm",
            "value": 0.25,
            "interval": (0.1875, 0.3125),
            "questions": 14042,
        }
    ]

    def printed():
        print_capability(CapabilityOptions(agent="base"), rows)

    check(ran(printed, width), ran(printed), width)


def test_what_matters_least_is_left_out_first_and_named():
    table = FittedTable("step", "reward", Column(heading="entropy", drop=1))
    table.row("1,000", "-0.123", "1.25")
    shown = {}
    for width in (30, 16):
        console = Console(file=io.StringIO(), width=width)
        console.print(table)
        shown[width] = console.file.getvalue()
    assert "1.25" in shown[30]
    assert "Not shown" not in shown[30]
    assert "1.25" not in shown[16]
    assert "-0.123" in shown[16]
    assert " ".join(shown[16].split()).endswith("Not shown in 16 columns: entropy.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (12345, "12,345"),
        (0.5, "0.500"),
        (-0.53213, "-0.532"),
        (1.35, "1.35"),
        (999.9, "1,000"),
        (1234567.8, "1,234,568"),
        (1.35e-05, "1.35e-5"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert significant(value) == text
