"""Every command's options with their values and defaults, as ``--help-all`` shows them and as committed."""

import io
import re
from contextlib import redirect_stdout
from importlib.metadata import distribution
from pathlib import Path

import pytest
from snapshots import check_snapshot

from redteam_env.cli.main import main

COLUMNS = "129"
"""The widest terminal on which tyro never puts two boxes beside each other."""
FURTHER = {"bench": ["verify"], "experiment": ["report", "verify"]}
"""Subcommands that are no choice in their command's usage."""
PLUGGED = {
    "algorithm": "algorithms",
    "callback": "callbacks",
    "opponents": "opponents",
    "policy": "policies",
}
"""Options of ``train`` that name a plug-in with options of its own."""


def ours(group):
    """Names of this distribution's plug-ins of a kind; others may be installed beside it."""
    entries = distribution("redteam-env").entry_points
    return sorted(x.name for x in entries if x.group == f"redteam_env.{group}")


@pytest.fixture
def help_of(monkeypatch):
    monkeypatch.setenv("COLUMNS", COLUMNS)

    def read(*command):
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # so that tyro draws its boxes
        with redirect_stdout(out), pytest.raises(SystemExit) as ended:
            main([*command, "--help-all"])
        assert ended.value.code == 0
        out.seek(0)
        return out.read()

    return read


def arguments(text):
    """Every argument in a help text, with what it takes and its default, such as ``--lr FLOAT = 0.1``.

    What is in a box and begins beside its border is an argument; what is further in goes on with
    its description.
    """
    found, box = [], ""
    for line in text.splitlines():
        if line.startswith("╭"):
            box = line.strip("╭╮─ ")
        if not line.startswith("│ ") or box == "subcommands":
            continue
        content = line.strip("│").rstrip()
        if not content.startswith("  "):
            found.append(content.strip())
        elif found:
            found[-1] += f"  {content.strip()}"
    for entry in found:
        name, _, description = entry.partition("  ")
        default = re.search(r"\((?:default: ?(.*)|(required))\)$", " ".join(description.split()))
        if name == "-h, --help" or not (name.startswith("-") or default):
            continue
        value = default[1] or default[2] or "''" if default else "unset"
        yield f"{name} = {re.sub(r'(?<=[,/-]) ', '', value)}"  # where tyro may have broken a line


def subcommands(command, text):
    choices = re.search(r"^usage: .*\{([\w,-]+)\}$", text, re.MULTILINE)
    return (
        choices[1].split(",") if choices and "─ subcommands ─" in text else FURTHER.get(command, ())
    )


def test_options_of_all_commands_are_the_committed_ones(help_of):
    entries = []
    for command in ours("commands"):
        text = help_of(command)
        entries += [f"{command} {x}" for x in arguments(text)]
        for name in subcommands(command, text):
            entries += [f"{command} {name} {x}" for x in arguments(help_of(command, name))]
    common = {x.removeprefix("train ") for x in entries if x.startswith("train ")}
    for option, group in PLUGGED.items():
        for name in ours(group):
            chosen = f"train --{option} {name}"
            entries += [
                f"{chosen}: {x}" for x in arguments(help_of(*chosen.split())) if x not in common
            ]
    check_snapshot(Path(__file__).with_name("options.txt"), entries)
