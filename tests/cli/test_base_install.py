"""Without the extras every command works, or says in one line what to install."""

import json
import os
import re
import subprocess
import sys

import pytest

from redteam_env.cli.doctor import needed_packages
from redteam_env.utils.extras import module_of

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
BELOW = {"huggingface_hub", "pandas", "tokenizers"}
"""What comes with packages of the extras."""

RUN = """
import contextlib, io, json, sys
from redteam_env import registry
from redteam_env.cli.completion import KIND, _CHOICES
from redteam_env.cli.main import main

def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([*arguments])
        except SystemExit as ended:
            code = ended.code
    found.append([arguments, code, out.getvalue(), err.getvalue()])
    return out.getvalue()

found = []
"""
HELPS = f"""{RUN}
for name in registry.names(KIND):
    run(name, "--help-all")
    choices = _CHOICES.search(run(name, "--help"))
    for word in choices[1].split(",") if choices else ():
        run(name, word, "--help")
for word in ("report", "verify"):
    run("experiment", word, "--help")
run("bench", "verify", "--help")
print(json.dumps(found))
"""
EACH = f"""{RUN}
for arguments in json.loads(sys.argv[1]):
    run(*arguments)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory):
    """Run a command, or code, where the packages of all extras are missing, in its processes, too."""
    folder = tmp_path_factory.mktemp("site")
    needed = needed_packages()
    names = {module_of(x.name) for x in needed if x.extra} | BELOW
    names -= {module_of(x.name) for x in needed if not x.extra}
    (folder / "sitecustomize.py").write_text(WITHOUT.format(names=sorted(names)))

    def run(*arguments, code=None):
        words = (
            ["-m", "redteam_env.cli.main", *arguments] if code is None else ["-c", code, *arguments]
        )
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )

    return run


def test_case_n1_every_help_comes_without_extras(without_torch):
    result = without_torch(code=HELPS)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert {"train", "evaluate", "bench", "play", "runs"} <= {words[0] for words, *_ in found}
    assert ["data", "sft", "--help"] in [words for words, *_ in found]
    assert [x for x in found if x[1] != 0 or x[3]] == []


def test_case_n1_a_command_that_needs_torch_says_what_to_install(tmp_path, without_torch):
    commands = [
        ("train", "--out", f"{tmp_path}/run", "--steps", "1"),
        ("bench", "--out", f"{tmp_path}/bench"),
        ("worlds", "check", "apothecary"),
        ("models", "get", "apothecary"),
        ("play", "--world", "apothecary", "--defender", "base"),
        ("evaluate", "base", "--world", "apothecary"),
        ("evaluate", "refuse", "--attacker", "base", "--world", "apothecary"),
        ("speed",),
    ]
    found = each(without_torch, commands)
    assert len(found) == len(commands)
    for command, (code, _, err) in zip(commands, found, strict=True):
        assert code == 2, command
        assert len(err.strip().splitlines()) == 1, err
        assert re.search(r"pip install 'redteam-env\[(\w+,)*train\]'", err), command
        assert "ModuleNotFoundError" not in err
    assert found[0][2] == "error: train needs torch: pip install 'redteam-env[train]'\n"
    assert (
        found[4][2]
        == f"error: playing with a model needs torch: {found[0][2].partition('torch: ')[2]}"
    )


def test_case_n1_what_a_command_needs_is_said_in_one_form_before_it_begins(tmp_path, without_torch):
    wanted = {
        ("capability", "base"): "capability needs lm_eval, torch: [capability,train]",
        ("models", "list"): "models list needs torch: [train]",
        ("models", "get", "smollm2"): "models get needs torch: [train]",
        ("export", str(tmp_path), "out"): "export needs torch: [train]",
        ("push", str(tmp_path), "me/mine"): "push needs torch: [train]",
        ("speed", "--part", "all"): "speed needs torch, trl, pygame: [speed,train]",
        ("speed", "--part", "game"): "speed --part game needs pygame: [speed]",
        ("worlds", "check"): "worlds needs torch: [train]",
    }
    found = each(without_torch, list(wanted))
    for (words, told), (code, out, err) in zip(wanted.items(), found, strict=True):
        needs, _, extras = told.partition("[")
        assert (code, out) == (2, ""), words
        assert err == f"error: {needs}pip install 'redteam-env[{extras}'\n"


def test_case_n1_quickstart_says_what_to_install_and_leaves_nothing(tmp_path, without_torch):
    result = without_torch("quickstart", "--out", str(tmp_path / "quickstart"), "--steps", "1")
    *progress, error = result.stderr.strip().splitlines()
    assert not any("error" in line or "Traceback" in line for line in progress), result.stderr
    assert not progress
    assert error == "error: quickstart needs torch: pip install 'redteam-env[train]'"
    assert not list(tmp_path.iterdir())
    assert result.returncode == 2


def each(without_torch, commands):
    """Run commands one after the other; returns exit code, stdout and stderr of each."""
    result = without_torch(json.dumps(commands), code=EACH)
    assert result.returncode == 0, result.stderr
    return [tuple(found[1:]) for found in json.loads(result.stdout)]


def test_case_n1_what_needs_no_extra_works_without_any(tmp_path, without_torch):
    wanted = {
        ("play", "--games", "1"): "Judge: ",
        ("evaluate", "refuse"): "Judge: ",
        ("crossplay", "refuse", "comply"): "Judge: ",
        ("data", "list"): "builtin",
        ("data", "get", "builtin"): "heldout",
        ("judge", "list"): "wildguard",
        ("judge", "show", "wildguard"): "WildGuard",
        ("plan", "--model", "smollm2"): "bipolicy",
        ("recipes", "list"): "self_redteam",
        ("recipes", "show", "abs_3b"): "--model",
        ("runs", "list", str(tmp_path)): "No runs",
        ("worlds", "show"): "alias",
    }
    for (words, shown), (code, out, err) in zip(
        wanted.items(), each(without_torch, list(wanted)), strict=True
    ):
        assert code == 0, (words, err)
        assert shown in out, words


def test_case_n1_what_needs_another_extra_names_it(tmp_path, without_torch):
    wanted = {
        ("experiment", "--out", f"{tmp_path}/claims"): "train",
        ("capability", "base"): "train",
        ("models", "list"): "train",
        ("worlds", "pretrain", "--out", f"{tmp_path}/world"): "train",
        ("judge", "serve", "lexical"): "serve",
        ("report", str(tmp_path)): "report",
        ("speed", "--part", "game"): "speed",
        ("train", "--algorithm", "sb3_ppo", "--arrangement", "attacker_only"): "sb3",
    }
    for (words, extra), (code, _, err) in zip(
        wanted.items(), each(without_torch, list(wanted)), strict=True
    ):
        assert code == 2, (words, err)
        assert "Traceback" not in err, words
        named = re.search(r"pip install 'redteam-env\[([\w,]+)\]'", err.splitlines()[-1])
        assert named is not None, (words, err)
        assert extra in named[1].split(","), words


def test_case_n1_doctor_tells_what_is_missing_from_what_is_broken(without_torch, tmp_path):
    result = without_torch("doctor", "--json")
    assert result.stdout, result.stderr
    found = json.loads(result.stdout)
    states = {(x["kind"], x["name"]): (x["problem"], x["needs"]) for x in found["plugins"]}
    assert states["agents", "policy"][1] == "train"
    assert states["agents", "refuse"] == (None, None)
    assert [x for x, (problem, needs) in states.items() if problem and not needs] == []
