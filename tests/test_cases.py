"""The table of cases in ``tests/README.md`` and the tests say the same."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
NAME = re.compile(r"test_case_(\d\d|[a-z]\d)_\w+")
ROW = re.compile(r"^\| ([0-9A-Z]\d) \| [^|]+ \| (.+) \|$", re.MULTILINE)
TABLE = {
    case: re.findall(r"`(\w+)`", tests)
    for case, tests in ROW.findall((TESTS / "README.md").read_text(encoding="utf-8"))
}


def defined():
    """Return the names of all tests of cases."""
    return {
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and NAME.fullmatch(node.name)
    }


def test_every_case_has_a_test():
    assert TABLE
    assert [case for case, tests in TABLE.items() if not tests] == []


def test_the_table_names_the_tests_that_exist():
    named = {name for tests in TABLE.values() for name in tests}
    assert named - defined() == set(), "named in tests/README.md, and not there"
    assert defined() - named == set(), "there, and not named in tests/README.md"


def test_a_test_stands_in_the_row_of_its_case():
    wrong = [
        (case, name)
        for case, tests in TABLE.items()
        for name in tests
        if not name.startswith(f"test_case_{case.lower()}_")
    ]
    assert wrong == []
