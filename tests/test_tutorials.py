"""The code that a tutorial shows is that of the scripts it names, which tests/test_examples.py runs."""

import re
from pathlib import Path

import pytest

from redteam_env.registry import names

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "examples" / "guide" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_there_are_tutorials():
    assert PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda x: x.stem)
def test_each_python_block_stands_in_a_script_that_the_page_names(page):
    text = page.read_text(encoding="utf-8")
    scripts = [
        (ROOT / name).read_text(encoding="utf-8")
        for name in re.findall(r"`(examples/\w+\.py)`", text)
    ]
    blocks = BLOCK.findall(text)
    assert blocks
    for code in blocks:
        assert any(code in script for script in scripts), code


@pytest.mark.parametrize("page", PAGES, ids=lambda x: x.stem)
def test_every_command_and_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"redteam-env (\w+)", text)) <= set(names("commands"))
    for link in re.findall(r"\[[^\]]*\]\(([^)#:\s]+)\)", text):
        assert (page.parent / link).exists(), link
