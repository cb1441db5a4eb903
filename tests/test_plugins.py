"""A third party's distribution, installed by pip, works by name only; a broken part stops nothing."""

import json
import re
import site
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from tiny_models import save_tiny

DUMMY = Path(__file__).parent / "plugins" / "redteam_dummy"
HERE = site.getsitepackages()


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Install the distribution into a fresh environment, which sees this one's packages."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    [site] = home.glob("lib/python*/site-packages")
    (site / "parent.pth").write_text(
        "".join(f"import site; site.addsitedir({x!r})\n" for x in HERE)
    )
    command = [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install"]
    command += ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", str(DUMMY)]
    subprocess.run(command, check=True, capture_output=True)
    return home / "bin" / "python"


@pytest.fixture
def redteam(python, tmp_path):
    def call(*arguments, code=0):
        result = subprocess.run(
            [str(python), "-m", "redteam_env.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stderr
        return result

    return call


def test_every_kind_of_plugin_trains_by_name(redteam, tmp_path):
    model = save_tiny(tmp_path / "model")
    options = ["--algorithm", "dummy_algorithm", "--world", "dummy_world"]
    options += ["--opponents", "dummy_turns", "--dummy-block", "2"]
    options += ["--dummy-weight", "0.25", "--model", model, "--steps", "2"]
    options += ["--games", "4", "--max-new-tokens", "4", "--out", "run"]
    options += [
        "--logger",
        "dummy_logger?file=mine.txt",
        "--logger",
        "dummy_down",
        "--log-dialogues",
        "2",
    ]
    told = redteam("train", *options).stderr
    assert told.count("no route to dummy_down") == 1
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["dummy/updates"] for row in rows] == [1, 2]
    assert rows[0]["dummy/weight"] == 0.25
    redteam("train", "--resume", "--out", "run", "--steps", "3")
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["dummy/updates"] for row in rows] == [1, 2, 3]
    assert [row["dummy/steps"] for row in rows] == [1, 2, 3]
    diary = (tmp_path / "run/mine.txt").read_text().splitlines()
    assert [re.sub(r"\d+ numbers", "N numbers", line) for line in diary] == [
        "session 1 step 0: N numbers, 0 tables",
        "session 1 step 1: N numbers, 1 tables",
        "session 1 is over",
        "session 2 step 2: N numbers, 0 tables",
        "session 2 is over",
    ]


def test_a_card_in_a_third_party_s_folder_is_a_recipe(redteam, tmp_path):
    assert "dummy_recipe: A recipe of one's own" in redteam("recipes", "list").stdout
    redteam("train", "--recipe", "dummy_recipe", "--scale", "tiny", "--steps", "1", "--out", "run")
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert record["config"]["dummy_weight"] == 0.125
    assert record["differs_from_recipe"] == {"steps": {"recipe": 2, "run": 1}}


def test_a_policy_and_a_callback_are_chosen_by_name(redteam, tmp_path):
    options = ["--policy", "dummy_policy", "--dummy-word", "BREAD", "--callback", "dummy_callback"]
    options += ["--algorithm", "dummy_algorithm", "--judge", "dummy_judge", "--dummy-tick", "2"]
    options += ["--seeds", "dummy_seeds", "--games", "4"]
    told = redteam("train", *options, "--steps", "2")
    assert "crossplay" not in told.stdout
    run = tmp_path / "runs/dummy_policy-0"
    redteam("train", *options, "--steps", "3", "--resume", "--out", run)
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["dummy/ticks"] for row in rows] == [2, 4, 6]
    assert (run / "checkpoints/step-000003/policy/word.txt").read_text() == "BREAD"
    one_seat = redteam("train", *options, "--opponent", "refuse", "--out", "other", code=2)
    assert "this policy trains attacker and defender" in " ".join(one_seat.stderr.split())
    assert "--dummy-word" in redteam("train", "--policy", "dummy_policy", "--help-all").stdout


def test_an_agent_and_a_judge_evaluate_by_name(redteam):
    options = ["--attacker", "dummy_agent", "--defender", "dummy_agent", "--judge", "dummy_judge"]
    found = redteam("evaluate", *options, "--seeds", "dummy_seeds", "--games", "8", "--json")
    data = json.loads(found.stdout)
    assert data["judge"]["name"] == "dummy_judge"
    attacked = data["result"]["rates"]["attack_success"]
    assert attacked["k"] == attacked["n"] > 0


def test_an_attack_evaluates_by_name(redteam):
    options = ["--attack", "dummy_attack", "--defender", "refuse", "--judge", "dummy_judge"]
    found = redteam("evaluate", *options, "--seeds", "dummy_seeds", "--games", "8", "--json")
    attacked = json.loads(found.stdout)["result"]["attacked"]
    assert attacked["queries"] == {"target": 4, "attacker": 4, "judge": 4, "unread": 0}


@pytest.mark.slow
def test_all_of_them_are_benchmarked_by_name(redteam, tmp_path):
    model = save_tiny(tmp_path / "model")
    options = ["--algorithms", "dummy_algorithm+dummy_turns", "--arrangements", "bipolicy"]
    options += ["--source", "dummy_seeds", "--judge", "dummy_judge", "--model", str(model)]
    options += ["--suites", "dummy_suite,dummy_questions", "--panel-attackers"]
    options += ["dummy_agent,attack:dummy_attack?attempts=1"]
    options += ["--panel-defenders", "dummy_agent", "--settings", "max_new_tokens=4,rank=2"]
    options += ["--seeds", "1", "--budget", "8", "--games", "4", "--response-budget", "0"]
    options += ["--suite-games", "4", "--panel-games", "4", "--cross-games", "4", "--json"]
    found = json.loads(redteam("bench", *options).stdout)
    [cell] = [x for x in found["cells"] if x["trained"]]
    assert cell["label"] == "dummy_algorithm+dummy_turns"
    assert {"dummy_suite", "dummy_agent"} <= set(cell["scores"]["robustness"]["tasks"])
    assert cell["scores"]["capability"]["tasks"] == ["dummy_questions"]
    redteam("bench", "verify", "runs/bench/report")


def test_a_broken_suite_is_named_with_its_reason(redteam):
    options = ["--algorithms", "reinforce_pp", "--suites", "dummy_no_suite"]
    found = redteam("bench", *options, "--source", "dummy_seeds", code=2)
    assert "dummy_no_suite" in found.stderr


def test_a_command_is_added(redteam):
    assert "dummy plug-in: hello" in redteam("dummy", "hello").stdout


def test_a_broken_plugin_is_named_with_its_reason(redteam):
    found = redteam("evaluate", "--attacker", "dummy_broken", "--defender", "refuse", code=2)
    assert "dummy_broken" in found.stderr
    assert "redteam_dummy.missing_module" in found.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "evaluate --attacker dummy_no_agent --defender refuse",
            "'dummy_no_agent' (redteam_dummy:CAPITALS of redteam-dummy) is no agent",
        ),
        (
            "train --algorithm dummy_no_algorithm",
            "(redteam_dummy:Forgetful of redteam-dummy) is no algorithm: it has no method state()",
        ),
        (
            "bench --algorithms dummy_no_algorithm",
            "'dummy_no_algorithm' (redteam_dummy:Forgetful of redteam-dummy) is no algorithm",
        ),
        (
            "bench --algorithms reinforce_pp --suites dummy_odd_suite --source dummy_seeds",
            "'dummy_odd_suite' (redteam_dummy:judge of redteam-dummy) is no suite",
        ),
    ],
)
def test_what_is_no_plugin_is_refused_in_one_line(redteam, command, told):
    said = redteam(*command.split(), code=2).stderr.splitlines()
    [line] = [
        x for x in said if not x.startswith("Judge: ")
    ]  # which judge a run takes that names none
    assert told in line


def test_doctor_names_what_is_no_plugin_and_calls_the_others_well(redteam):
    plugins = json.loads(redteam("doctor", "--json").stdout)["plugins"]
    ours = [x for x in plugins if x["distribution"].startswith("redteam-dummy ")]
    problems = {x["name"]: x["problem"] for x in ours}
    bad = {name: reason for name, reason in problems.items() if reason}
    assert set(bad) == {
        "dummy_broken",
        "dummy_no_agent",
        "dummy_no_algorithm",
        "dummy_no_suite",
        "dummy_odd_suite",
    }
    assert all(name in reason for name, reason in bad.items())
    assert "missing_module" in bad["dummy_broken"]
    project = tomllib.loads((DUMMY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(problems) == {name for x in project["entry-points"].values() for name in x}
