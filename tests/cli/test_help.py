"""What ``--help`` and ``--help-all`` show."""

import sys

import pytest
from rich.console import Console

from algorithms.cli.train import parse_train
from redteam_env import registry
from redteam_env.cli.main import main

MOST_LINES = 59


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def show(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert ended.value.code == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    "command",
    [
        *(["bench"], ["capability"], ["crossplay"], ["evaluate"], ["experiment"], ["plan"]),
        *(["play"], ["quickstart"], ["rejudge"], ["speed"]),
        *(["train"], ["train", "--algorithm", "grpo"], ["worlds", "pretrain"]),
    ],
    ids=" ".join,
)
def test_help_is_short_and_no_wider_than_the_terminal(shown, command):
    lines = shown(*command, "--help").splitlines()
    assert len(lines) <= MOST_LINES
    usage = [line for line in lines if line.startswith("usage: ")]
    assert [line for line in lines if len(line) > 80 and line not in usage] == []


def test_all_options_stand_in_the_long_help_and_the_short_one_says_so(shown):
    short = shown("train", "--help")
    assert short.splitlines()[-1] == "All options: redteam-env train --help-all"
    assert "--steps" in short
    assert "--void-steps" not in short
    assert "--void-steps" in shown("train", "--help-all")


def test_what_may_be_chosen_comes_from_the_registry_with_a_line_each(shown, plugins):
    class Mine:
        """Learns from what a test wants.

        More.
        """

    plugins("algorithms", "mine", Mine)
    lines = shown("train", "--help").splitlines()
    choices = lines[lines.index("--algorithm: one of these, or an installed one") :]
    listed = [line.split()[0] for line in choices if line.startswith("  ")]
    assert set(registry.names("algorithms")) | set(registry.names("opponents")) == set(listed)
    assert any(line.split(None, 1) == ["mine", "Learns from what a test wants."] for line in lines)


def test_what_else_may_be_chosen_is_named_in_a_line_and_listed_in_the_long_help(shown):
    short, long = shown("train", "--help"), shown("train", "--help-all")
    lines = {line.partition(":")[0]: line for line in short.splitlines() if ": " in line}
    assert "apothecary-easy" in lines["--world"]
    assert "self_redteam" in long[long.index("--recipe: one of") :]
    assert lines["--recipe"].startswith("--recipe: abs_0.5b, ")
    assert lines["--judge"].startswith("--judge: always, ")
    judges = long[long.index("--judge: one of these") : long.index("--opponent: one of these")]
    assert "wildguard" in judges
    assert "  qwen3guard_strict  " in judges
    assert "papers" not in lines["--recipe"]


@pytest.mark.parametrize("command", ["train", "play", "evaluate", "bench"])
def test_no_text_of_the_short_help_is_cut(shown, command):
    lines = shown(command, "--help").splitlines()
    assert [x for x in lines if x.rstrip(" │").endswith("...") or " ... (" in x] == []


def test_no_help_imports_the_choices_that_it_lists(shown, monkeypatch):
    for name in ("algorithms.rloo", "algorithms.sb3.learners"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert "REINFORCE against the other games of the group." in shown("train", "--help")
    assert "algorithms.rloo" not in sys.modules
    assert "algorithms.sb3.learners" not in sys.modules


def test_a_command_of_somebody_else_may_be_asked_for_all_too(plugins, capsys):
    seen = []
    plugins("commands", "probe", lambda argv: seen.append(list(argv)) or 0)
    assert main(["probe", "--help-all"]) == 0
    assert main(["probe", "--", "--help-all"]) == 0
    assert seen == [["--help"], ["--", "--help-all"]]


def test_what_may_be_left_out_is_shown_as_what_one_types_and_none_is_a_word(shown):
    text = shown("train", "--help-all")
    assert "None" not in text
    (line,) = [x for x in text.splitlines() if "--judge-url" in x]
    assert line.strip("│ ").startswith("--judge-url STR")
    assert "(default: none)" in text


def test_an_option_without_a_value_is_given_none_by_the_word(capsys):
    words = ["train", "--world", "apothecary", "--callback"]
    assert parse_train([*words[1:], "none"]).run.callback is None
    assert parse_train([*words[1:], "None"]).run.callback is None
    assert parse_train([*words[1:-1], "--attacker-lr", "none"]).learner.attacker_lr is None
    assert parse_train(["--recipe", "none", "--world", "none"]).run.recipe is None
    assert main(["plan", "--model", "smollm2", "--recipe", "none"]) == 2
    assert "Unknown recipe 'none'" in capsys.readouterr().err


def test_what_a_default_is_stands_once(shown):
    text = " ".join(shown("train", "--help").replace("│", "").split())
    assert "--out NAME The run directory; by default runs/ARRANGEMENT-SEED. --resume" in text


def test_the_maker_of_agents_is_no_agent_to_be_chosen(shown):
    lines = shown("evaluate", "--help").splitlines()
    named = [x.split()[0] for x in lines if x.startswith("  ") and x.strip()]
    assert "refuse" in named
    assert "policy" not in named


def test_commands_are_listed_with_their_texts_below_each_other(monkeypatch, capsys):
    monkeypatch.setattr("redteam_env.cli.main.make_console", lambda: Console(width=50))
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(k for k, x in enumerate(lines) if x.startswith("bench "))
    assert lines[first + 1].startswith(" " * 12)
