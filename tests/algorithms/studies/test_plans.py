"""A plan is TOML or Python; what it registers is there in every process that does a task."""

import sys
from functools import partial

import pool_fakes
import pytest
from experiment_fakes import tiny_data, tiny_experiment

from algorithms.studies.bench.config import BenchConfig, config_from
from algorithms.studies.bench.tasks import manifest_of
from algorithms.studies.executors import Processes
from algorithms.studies.experiments.reading import read_experiment
from algorithms.studies.plans import read_plan, with_plan
from algorithms.studies.pool import run_tasks
from algorithms.studies.tasks import Task
from redteam_env.cli.main import main
from redteam_env.game import RedteamError

PYTHON = """
from algorithms.reinforce import Reinforce
from redteam_env import register

register("algorithms", "mine", Reinforce)
PLAN = {"algorithms": ["mine", "grpo"], "seeds": 2, "settings": {"lr": 1e-3, "thinking": "none"}}
"""
TOML = """
algorithms = ["reinforce_pp", "grpo"]
seeds = 2
[settings]
lr = 1e-3
"""


@pytest.fixture
def file(tmp_path):
    """Write a plan; returns its place."""

    def write(text, name):
        place = tmp_path / name
        place.write_text(text)
        return str(place)

    return write


def read(named):
    return read_plan(named, what="plan of a benchmark")


def test_a_toml_file_holds_the_options_of_a_benchmark(file):
    config = config_from(read(file(TOML, "plan.toml")).data)
    assert config == BenchConfig(algorithms="reinforce_pp,grpo", seeds=2, settings="lr=0.001")


def test_a_python_file_holds_a_plan_and_registers_what_it_needs(file):
    plan = read(file(PYTHON, "plan.py"))
    config = config_from(plan.data)
    assert config.algorithms == "mine,grpo"
    assert config.settings_by_name() == {"lr": 1e-3, "thinking": "none"}
    assert manifest_of(config)["plugins"]["algorithms/mine"].startswith("registered in process, ")
    again = read(plan.source)
    assert again == plan


def test_a_plan_may_be_made_by_a_function_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_plans.py").write_text("def small():\n    return {'seeds': 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert read("my_plans:small").data == {"seeds": 1}
    del sys.modules["my_plans"]


def test_an_experiment_may_be_python_too(file):
    made = read_experiment(file(f"PLAN = {tiny_data()!r}", "tiny.py"))
    assert made.source == tiny_experiment().source
    assert made.parts == tiny_experiment().parts


def test_what_a_plan_registers_is_there_in_the_processes_of_its_tasks(file, tmp_path):
    plan = read(file(PYTHON, "other_plan.py"))
    task = Task(kind="measure", arm="a", seed=0)
    work = partial(with_plan, plan.source, partial(pool_fakes.registered, str(tmp_path)))
    assert run_tasks(tmp_path, [task], Processes(1), work, lambda *_: None)
    assert "mine" in (tmp_path / task.output).read_text()


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("PLANS = {}", "one.py", "holds no PLAN; assign the plan of a benchmark to PLAN"),
        ("PLAN = 3", "two.py", "PLAN of .*two.py' is int; give a mapping"),
        ("import nothing_here", "three.py", "three.py' cannot be imported: ModuleNotFoundError"),
        ("seeds = [", "four.toml", "cannot be read"),
    ],
)
def test_what_is_no_plan_is_one_error_that_names_it(file, text, name, message):
    with pytest.raises(RedteamError, match=message):
        read(file(text, name))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"seedz": 2}, r"seedz.*did you mean.*seeds"),
        ({"seeds": "two"}, "seeds"),
        ({"suites": ["apothecary_k1"], "budget": 10}, "budget is 10"),
    ],
)
def test_a_wrong_option_of_a_plan_is_refused(data, message):
    with pytest.raises(RedteamError, match=rf"(?i){message}"):
        config_from(data)


def test_a_plan_that_is_not_there_is_one_line(capsys):
    assert main(["bench", "nowhere.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere.toml" in line
    assert "FILE.py" in line


def test_options_on_the_command_line_go_before_the_plan(file, capsys):
    assert main(["bench", file(TOML, "plan.toml"), "--budget", "10"]) == 2
    assert "less than one step" in capsys.readouterr().err
