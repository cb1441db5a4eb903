"""The names that users import, from packages and from modules that list them, as committed."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from snapshots import check_snapshot

import redteam_env

ROOT = Path(redteam_env.__file__).parents[1]
PACKAGES = ("redteam_env", "agents", "algorithms")


def listed_in(file):
    """The names in a module's ``__all__``; nothing is imported."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def test_public_names_are_the_committed_ones():
    names = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            module = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            names += [f"{module.removesuffix('.__init__')}.{name}" for name in listed_in(file)]
    check_snapshot(Path(__file__).with_name("public_names.txt"), names)


@pytest.mark.parametrize("package", ["agents", "algorithms"])
def test_names_that_are_imported_late_can_be_completed_and_bring_no_torch(package):
    code = (
        f"import json, sys, {package}; print(json.dumps([dir({package}), 'torch' in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    names, torch = json.loads(result.stdout)
    assert set(import_module(package).__all__) <= set(names)
    assert not torch


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_a_package_hands_out_its_own_names_only(package):
    module = import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        home = getattr(thing, "__module__", getattr(thing, "__name__", ""))
        assert home.startswith(f"{package}."), name
