"""Two processes train as one does: the same games, the same weights, one log, one end for all."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import rank_worker
from hypothesis import given
from hypothesis import strategies as st
from rank_launch import distance, launch, launch_jobs, metric_distance, plays, weights
from training_fakes import metrics

from algorithms.core.ranks import Ranks, join
from redteam_env import registry
from redteam_env.game import RedteamError
from redteam_env.runs import Run

DONE = {"steps": 2, "finished": True}
EXACT = 1e-9
"""In double precision only Adam's division tells one order of summing from another."""
TABLE = {
    "table": True,
    "steps": 2,
    "games": 8,
    "group_size": 2,
    "checkpoint_every": 1,
    "json": True,
    "seeds": "words",
    "judge": "words",
    "rewrite_fraction": 0.75,
    "arrangement": "bipolicy",
    "lr": 0.1,
    "minibatch": 3,
    "micro_batch": 2,
    "epochs": 2,
}
ALIKE = {
    "reinforce_pp, bipolicy": {},
    "grpo, shared": {"algorithm": "grpo", "arrangement": "shared"},
    "ppo, bipolicy": {"algorithm": "ppo"},
    "online_dpo, shared": {"algorithm": "online_dpo", "arrangement": "shared"},
    "rae, bipolicy": {"algorithm": "rae"},
    "reinforce_pp, shared, two rates, importance weights": {
        "arrangement": "shared",
        "attacker_lr": 0.2,
        "importance_cap": 2.0,
    },
    "novelty": {"callback": "novelty"},
    "evaluated": {"eval_every": 1, "eval_games": 4},
    "one sample in an optimiser step": {"minibatch": 1, "epochs": 1},
}
FAULTS = {  # options, and what rank 0 and rank 1 say
    "failing": (
        {"judge": "failing"},
        "^Process 1 of 2: Step 1: The judge went",
        "^Step 1: The judge",
    ),
    "crashing": (
        {"judge": "crashing"},
        "^Process 1 of 2: Step 1: The judge 'words' raised ZeroDivisionError: division",
        "^Step 1: The judge",
    ),
    "lonely": ({"algorithm": "lonely"}, *["'lonely' does not say that it trains in several"] * 2),
    "drifting": (
        {"algorithm": "drifting"},
        *["^Step 0: Process 1 of 2 has other weights after the update than process 0"] * 2,
    ),
    "indivisible": (
        {"games": 6},
        *[
            "2 processes cannot share 6 games in groups of 2 evenly. Give a multiple of 4 .* such as 8"
        ]
        * 2,
    ),
    "other options": (
        {"rank_1": {"lr": 0.2}},
        *[r'other options .* than process 0: {"lr": 0.2} there, {"lr": 0.1} here'] * 2,
    ),
    "diverging": (
        {"algorithm": "reinforce", "lr": 1e308, "steps": 6},
        *[r"^Step \d: .*--init-from"] * 2,
    ),
}
OTHERS = {
    "examples": {"arrangement": "shared", "sft_batch": 3, "sft_steps": 1},
    "interrupted": {"judge": "pressed", "steps": 4, "checkpoint_every": 3},
    "stopped": {"callback": "stops", "steps": 4},
    "begun by two": {},
    "begun by one": {"steps": 4, "resume": True},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """All jobs of this file, done by two processes that are started once."""
    root = tmp_path_factory.mktemp("two")
    lines = [
        json.dumps({"role": role, "prompt": f"question {k}", "response": "abc"[: k + 1]})
        for k in range(3)
        for role in ("attacker", "defender")
    ]
    (root / "examples.jsonl").write_text("\n".join(lines))
    faults = {name: options for name, (options, *_) in FAULTS.items()}
    jobs = {
        name: {**TABLE, **options, "out": str(root / name)}
        for name, options in (ALIKE | faults | OTHERS).items()
    }
    jobs["examples"]["sft_file"] = str(root / "examples.jsonl")
    with registry.isolated():
        rank_worker.plug_in()
        rank_worker.job({**jobs["begun by one"], "steps": 2})
    results = launch_jobs(root / "jobs.json", jobs)
    return SimpleNamespace(root=root, jobs=jobs, results=results)


@pytest.fixture
def alone():
    """Do jobs in this process."""
    rank_worker.plug_in()
    return lambda options: rank_worker.job(dict(options))


@pytest.mark.parametrize("name", [*ALIKE, "examples"])
def test_two_processes_take_the_steps_of_one(two, alone, tmp_path, name):
    own, one = two.root / name, tmp_path / "one"
    assert two.results[name] == [DONE, DONE]
    assert alone({**two.jobs[name], "out": str(one)}) == DONE
    assert plays(own) == plays(one)
    assert metric_distance(own, one) < EXACT
    first, second = weights(own, 1), weights(own, 2)
    assert distance(first, weights(one, 1)) < EXACT
    assert distance(second, weights(one, 2)) < EXACT
    assert distance(first, second) > 0.01


def test_one_process_that_stops_ends_all_and_one_writes_what_all_ask_for(two):
    ended = {"steps": 1, "finished": True, "stopped": "rank 1 has seen enough"}
    assert two.results["stopped"] == [ended, ended]
    checkpoints = sorted(path.name for path in (two.root / "stopped/checkpoints").iterdir())
    assert checkpoints == ["mine", "step-000001"]


def test_one_process_writes_and_the_record_tells_how_many_there_were(two):
    run = two.root / "rae, bipolicy"
    assert [row["step"] for row in metrics(run)] == [0, 1]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "step-000001",
        "step-000002",
    ]
    assert json.loads((run / "config.json").read_text())["processes"] == 2
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["time/wait_s"] >= 0


@pytest.mark.parametrize("begun", ["begun by two", "begun by one"])
def test_a_run_goes_on_in_another_number_of_processes(two, alone, tmp_path, begun):
    run = shutil.copytree(two.root / begun, tmp_path / "run")
    if begun == "begun by two":
        assert alone({**two.jobs[begun], "out": str(run), "steps": 4, "resume": True})["finished"]
    whole = tmp_path / "whole"
    alone({**two.jobs[begun], "out": str(whole), "steps": 4, "resume": False})
    assert plays(run) == plays(whole)
    assert metric_distance(run, whole) < EXACT
    assert distance(weights(run, 4), weights(whole, 4)) < EXACT


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_one_process_ends_both_with_its_message(two, name):
    leader, other = (result.get("error", "crash") for result in two.results[name])
    told, own = FAULTS[name][1:]
    assert re.search(told, leader), leader
    assert re.search(own, other), other
    if name in {"lonely", "indivisible", "other options"}:
        assert not (two.root / name).exists(), "it is found out before anything is written"


def test_ctrl_c_in_one_process_stops_both_after_the_step_with_one_checkpoint(two):
    assert two.results["interrupted"] == [{"steps": 2, "finished": False}] * 2
    run = two.root / "interrupted"
    assert Run(run).latest().step == 2
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    assert len(metrics(run)) == 2


def test_the_command_prints_one_message_and_every_process_fails(tmp_path):
    words = ("--judge", "absent", "--seeds", "words", "--out", tmp_path / "run")
    codes, outs, errors = launch("command", "train", *words)
    assert codes == [2, 2]
    assert outs == ["", ""]
    assert errors[0].splitlines() == [
        "Training in 2 processes.",
        "error: Process 1 of 2: There is no such judge on this machine.",
    ]
    assert errors[1] == ""
    assert not (tmp_path / "run").exists()


@given(st.lists(st.integers(1, 1000), max_size=30), st.integers(1, 5))
def test_work_is_shared_out_whole_and_evenly(costs, world):
    parts = [Ranks(rank, world).share(costs) for rank in range(world)]
    assert sorted(k for part in parts for k in part) == list(range(len(costs)))
    assert all(part == sorted(part) for part in parts)
    loads = [sum(costs[k] for k in part) for part in parts]
    assert max(loads) - min(loads) <= max(costs, default=0)


@given(st.integers(1, 5), st.integers(0, 4))
def test_the_parts_of_a_schedule_follow_one_another(world, size):
    items = list(range(world * size))
    parts = [Ranks(rank, world).part(items) for rank in range(world)]
    assert [k for part in parts for k in part] == items
    assert {len(part) for part in parts} == {size}


def test_a_number_of_processes_without_a_launcher_is_refused(monkeypatch):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RedteamError, match=r"RANK, MASTER_ADDR, MASTER_PORT is not set.*torchrun"):
        join()
