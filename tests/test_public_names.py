"""The names that users import, from packages and from modules that list them, as committed."""

import ast
from pathlib import Path

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
