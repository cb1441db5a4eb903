import shutil
import subprocess

import pytest

from redteam_env.cli import completion
from redteam_env.cli.main import main

COMMANDS = ("data", "doctor", "rejudge")


@pytest.fixture
def script(monkeypatch, capsys, plugins):
    """Print the script of a shell for a few commands, one of somebody else among them."""

    def mine(argv):
        print("usage: redteam-env mine [-h] [OPTIONS]\n\n  --sparkle INT   How much. (default: 1)")
        return 0

    plugins("commands", "mine", mine)
    names = completion.registry.names
    monkeypatch.setattr(
        completion.registry,
        "names",
        lambda kind: [x for x in names(kind) if x in (*COMMANDS, "mine")],
    )

    def print_it(shell):
        assert main(["--print-completion", shell]) == 0
        return capsys.readouterr().out

    return print_it


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["re"], {"rejudge"}),
        (["data", "s"], {"sft"}),
        (["data", "sft", "--thou"], {"--thoughts"}),
        (["data", "--he"], {"--help", "--help-all"}),
        (["rejudge", "--judge-"], {"--judge-url"}),
        (["rejudge", "somewhere", "--la"], {"--last"}),
        (["mine", "--sp"], {"--sparkle"}),
        (["--ver"], {"--version"}),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_subcommands_and_options(script, line, expected):
    words = " ".join(f"'{x}'" for x in ["redteam-env", *line])
    code = f"""{script("bash")}
COMP_WORDS=({words}); COMP_CWORD={len(line)}
_redteam_env; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


def test_zsh_takes_the_same_function(script):
    text = script("zsh")
    assert text.startswith("#compdef redteam-env\n")
    assert script("bash") in text


def test_fish_has_a_line_for_each_word(script):
    lines = script("fish").splitlines()
    assert "complete -c redteam-env -n __fish_use_subcommand -f -a rejudge" in lines
    assert "complete -c redteam-env -n '__fish_seen_subcommand_from rejudge' -l last" in lines
    inside = "__fish_seen_subcommand_from data; and __fish_seen_subcommand_from sft"
    assert f"complete -c redteam-env -n '{inside}' -l thoughts" in lines
    if shutil.which("fish"):
        subprocess.run(["fish", "--no-execute"], input="\n".join(lines), text=True, check=True)


def test_an_unknown_shell_is_refused_and_the_help_says_how(script, capsys):
    assert main(["--print-completion", "tcsh"]) == 2
    assert "bash|zsh|fish" in capsys.readouterr().err
    assert main(["--print-completion"]) == 2
    assert main(["--help"]) == 0
    assert "--print-completion bash|zsh|fish" in capsys.readouterr().out
