"""The README's code blocks run, its commands exist, and its numbers are those of shipped results."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from redteam_env.registry import KINDS, names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def blocks(language):
    return [code for kind, code in BLOCKS if kind == language]


@pytest.mark.parametrize("code", blocks("python"))
def test_each_python_block_runs(code, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_first_two_blocks_are_one_command_each_that_installs_and_runs():
    main_job, tests = blocks("bash")[:2]
    assert main_job.strip().count("\n") == tests.strip().count("\n") == 0
    assert main_job.strip().endswith(".venv/bin/redteam-env quickstart")
    assert tests.strip().endswith(".venv/bin/pytest")


def test_every_command_named_exists():
    named = set(re.findall(r"redteam-env (\w+)", README))
    assert {"quickstart", "train", "evaluate", "crossplay", "play", "judge", "doctor"} <= named
    assert named <= set(names("commands"))


def test_every_file_named_exists():
    for path in re.findall(r"`?((?:examples|tests|redteam_env)/[\w/.]+)`?", README):
        assert (ROOT / path).exists(), path


def test_every_kind_of_plug_in_is_named_in_the_list_of_groups():
    [listed] = re.findall(r"^The groups are (.*?);", README, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"\.(\w+)`", listed)) == set(KINDS)


def test_it_has_at_most_150_lines():
    assert len(README.splitlines()) <= 150


def test_its_results_are_those_of_the_shipped_files():
    file = ROOT / "examples" / "results" / "claims" / "claims.json"
    claims = json.loads(file.read_text(encoding="utf-8"))
    for claim in claims.values():
        low, high = claim["interval"]
        side = ">" if claim["sign"] > 0 else "<"
        row = f"`{claim['contrast']}` {side} 0 | {claim['value']:+.3f} [{low:+.3f}, {high:+.3f}] | "
        assert f"{row}{claim['p_holm']:.3f} | {claim['verdict']} |" in README
    games = json.loads((file.parent / "experiment.json").read_text(encoding="utf-8"))
    assert games
    verdicts = README[README.index("| claim |") :].split("\n\n")[0]
    assert verdicts.count("\n") - 1 == len(claims)
