"""A third party's distribution, installed by pip, works by name only; a broken part stops nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_tiny

DUMMY = Path(__file__).parent / "plugins" / "redteam_dummy"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(target), str(DUMMY)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def redteam(site, tmp_path):
    def call(*arguments, code=0):
        result = subprocess.run(
            [sys.executable, "-m", "redteam_env.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stderr
        return result

    return call


def test_every_kind_of_plugin_trains_by_name(redteam, tmp_path):
    model = save_tiny(tmp_path / "model")
    options = ["--algorithm", "dummy_algorithm", "--judge", "dummy_judge", "--seeds", "dummy_seeds"]
    options += ["--dummy-weight", "0.25", "--model", model, "--rank", "2", "--steps", "2"]
    options += ["--games", "4", "--max-new-tokens", "4", "--out", "run"]
    redteam("train", *options)
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["dummy/updates"] for row in rows] == [1, 2]
    assert rows[0]["dummy/weight"] == 0.25
    redteam("train", "--resume", "--out", "run", "--steps", "3")
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["dummy/updates"] for row in rows] == [1, 2, 3]


def test_an_agent_and_a_judge_evaluate_by_name(redteam):
    options = ["--attacker", "dummy_agent", "--defender", "dummy_agent", "--judge", "dummy_judge"]
    found = redteam("evaluate", *options, "--seeds", "dummy_seeds", "--games", "8", "--json")
    data = json.loads(found.stdout)
    assert data["judge"]["name"] == "dummy_judge"
    attacked = data["result"]["rates"]["attack_success"]
    assert attacked["k"] == attacked["n"] > 0


def test_a_command_is_added(redteam):
    assert "dummy plug-in: hello" in redteam("dummy", "hello").stdout


def test_a_broken_plugin_is_named_with_its_reason(redteam):
    found = redteam("evaluate", "--attacker", "dummy_broken", "--defender", "refuse", code=2)
    assert "dummy_broken" in found.stderr
    assert "redteam_dummy.missing_module" in found.stderr


def test_doctor_lists_all_and_goes_on_past_the_broken_one(redteam):
    text = redteam("doctor").stdout
    for name in ("dummy_agent", "dummy_judge", "dummy_algorithm", "dummy_seeds", "redteam-dummy"):
        assert name in text
    assert "missing_module" in text
