"""Without the extras every command works, or says in one line what to install."""

import subprocess
import sys

import pytest

from redteam_env.cli.main import main

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "peft", "safetensors", "tokenizers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from redteam_env.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*arguments):
    """Run a command where the packages of the extra ``train`` are missing."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, check=False
    )


def commands(capsys):
    main([])
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    return [line.split()[0] for line in lines]


def test_case_n1_the_help_of_every_command_comes_without_torch(capsys):
    found = commands(capsys)
    assert {"train", "evaluate", "bench", "play"} <= set(found)
    for command in found:
        result = without_torch(command, "--help")
        assert result.returncode == 0 or "redteam-env[train]" in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--out", "{}/run", "--steps", "1"),
        ("bench", "--out", "{}/bench"),
        ("worlds", "check", "apothecary"),
        ("models", "get", "apothecary"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_case_n1_a_command_that_needs_torch_says_what_to_install(arguments, tmp_path):
    result = without_torch(*[x.format(tmp_path) for x in arguments])
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "pip install 'redteam-env[train]'" in result.stderr
    assert result.returncode == 2
