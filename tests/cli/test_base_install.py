"""Without the extras every command works, or says in one line what to install."""

import os
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
"""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory):
    """Run a command where the packages of the extra ``train`` are missing, in its processes, too."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(WITHOUT)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "redteam_env.cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )

    return run


def commands(capsys):
    main([])
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    return [line.split()[0] for line in lines]


def test_case_n1_the_help_of_every_command_comes_without_torch(capsys, without_torch):
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
        ("play", "--world", "apothecary", "--defender", "base"),
        ("evaluate", "base", "--world", "apothecary"),
        ("speed",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_case_n1_a_command_that_needs_torch_says_what_to_install(
    arguments, tmp_path, without_torch
):
    result = without_torch(*[x.format(tmp_path) for x in arguments])
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "pip install 'redteam-env[train]'" in result.stderr
    assert result.returncode == 2


def test_case_n1_quickstart_says_what_to_install_and_leaves_nothing(tmp_path, without_torch):
    result = without_torch("quickstart", "--out", str(tmp_path / "quickstart"), "--steps", "1")
    *progress, error = result.stderr.strip().splitlines()
    assert not any("error" in line or "Traceback" in line for line in progress), result.stderr
    assert error.startswith("error: ")
    assert not list(tmp_path.iterdir())
    assert "pip install 'redteam-env[train]'" in error
    assert result.returncode == 2


def test_case_n1_scripted_agents_play_without_torch(without_torch):
    for command in (
        ("play", "--games", "1"),
        ("evaluate", "refuse"),
        ("crossplay", "refuse", "comply"),
    ):
        result = without_torch(*command)
        assert result.returncode == 0, result.stderr
        assert "Judge: " in result.stdout
