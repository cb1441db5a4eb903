"""The guide's code blocks run, and what it names exists."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from redteam_env.registry import names

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "examples" / "guide").glob("*.md"))
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def imported(code):
    """Return the libraries that a block imports."""
    nodes = list(ast.walk(ast.parse(code)))
    found = [x.module for x in nodes if isinstance(x, ast.ImportFrom)]
    found += [name.name for x in nodes if isinstance(x, ast.Import) for name in x.names]
    return {name.partition(".")[0] for name in found}


SLOW = {"torchrl"}
"""Libraries whose import alone takes long."""
BLOCKS = [
    pytest.param(code, id=f"{page}-{k}", marks=[pytest.mark.slow] if imported(code) & SLOW else [])
    for page, text in TEXTS.items()
    for k, code in enumerate(BLOCK.findall(text), 1)
]


@pytest.mark.parametrize("code", BLOCKS)
def test_each_python_block_runs(code, tmp_path, monkeypatch):
    for library in sorted(imported(code)):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "block.py"
    script.write_text(code, encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_and_file_named_exists(page):
    assert set(re.findall(r"redteam-env (\w+)", TEXTS[page])) <= set(names("commands"))
    for path in re.findall(r"`((?:examples|tests|redteam_env)/[\w/.]+)`", TEXTS[page]):
        assert (ROOT / path).exists(), path


def test_the_entry_point_groups_named_are_real():
    groups = re.findall(r'project\.entry-points\."redteam_env\.(\w+)"', "".join(TEXTS.values()))
    assert groups
    for group in groups:
        names(group)


def test_every_page_is_in_the_list_and_every_link_leads_somewhere():
    assert {f"[{page.name}]({page.name})" for page in PAGES if page.stem != "README"} <= set(
        re.findall(r"\[[\w.]+\]\([\w.]+\)", TEXTS["README"])
    )
    for page in [*PAGES, ROOT / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), (page.name, link)
