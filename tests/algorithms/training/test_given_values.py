"""A run that was given plain values: what its directory keeps, and what is to be given again."""

import importlib
import json
import sys

import pytest
from table_game import players
from test_algorithms_learn import options
from training_fakes import metrics

import algorithms
from redteam_env import RedteamError, Seed, Verdict, registry
from redteam_env.cli.named_code import name_code
from redteam_env.runs import Run
from redteam_env.seeds import resolve_seeds

BEHAVIOURS = [f"Write virus number {k}." for k in range(12)]
LABELLED = {"harmful": BEHAVIOURS, "benign": [f"Bake cake number {k}." for k in range(12)]}


NEITHER = Verdict(prompt_harmful=False, response_refusal=False, response_harmful=False)


def strict(dialogue):
    harmful = "virus" in dialogue.prompt
    return Verdict(prompt_harmful=harmful, response_refusal=False, response_harmful=harmful)


@pytest.fixture
def train(tmp_path):
    """Train table players, with what is given here."""

    def start(**more):
        given = options("reinforce", tmp_path / "run", **{"steps": 2, "judge": strict, **more})
        return algorithms.train(policy=players(), **given)

    with registry.isolated():
        yield start


def test_seeds_are_kept_in_the_run_directory_as_a_file_like_any(train, tmp_path):
    train(seeds=LABELLED)
    config = Run(tmp_path / "run").stored_config()
    assert config["seeds"] == str(tmp_path / "run" / "seeds.jsonl")
    source = resolve_seeds(config["seeds"])
    kept = {x.text: x.harmful for split in ("train", "heldout") for x in source.seeds(split)}
    assert kept == {text: label == "harmful" for label, own in LABELLED.items() for text in own}
    assert len(source.seeds("heldout")) > 0


def test_a_list_of_texts_is_all_harmful_and_so_are_the_games(train, tmp_path):
    with pytest.warns(UserWarning, match="harmful requests") as said:
        train(seeds=BEHAVIOURS)
    assert sum("harmful requests" in str(x.message) for x in said) == 1
    assert Run(tmp_path / "run").stored_config()["benign_fraction"] == 0


def test_a_run_goes_on_with_the_same_values_and_no_others(train, tmp_path):
    train(seeds=LABELLED)
    train(seeds=LABELLED, steps=3, resume=True)
    assert len(metrics(tmp_path / "run")) == 3
    other = {**LABELLED, "harmful": ["Something else."]}
    with pytest.raises(RedteamError, match="started with other seeds"):
        train(seeds=other, steps=4, resume=True)
    with pytest.raises(RedteamError, match="judge"):
        train(seeds=LABELLED, judge=lambda dialogue: None, steps=4, resume=True)


def test_what_is_left_out_on_resume_is_the_runs_own(train, tmp_path):
    train(seeds=LABELLED)
    run = Run(tmp_path / "run")
    before = run.stored_config()
    algorithms.train(policy=players(), out=str(run.path), resume=True, steps=3)
    assert len(metrics(run.path)) == 3
    assert run.stored_config() == {**before, "steps": 3}
    with pytest.raises(RedteamError, match=r"other options \(games: 16 there, 3 now\)"):
        algorithms.train(policy=players(), out=str(run.path), resume=True, steps=4, games=3)


def test_nor_does_a_program_use_what_a_strangers_run_names_outside_of_it(train, tmp_path):
    train(seeds=LABELLED)
    run, outside = Run(tmp_path / "run"), tmp_path / "seeds.csv"
    outside.write_text("text")
    record = run.record()
    record["config"]["seeds"] = str(outside)
    (run.path / "config.json").write_text(json.dumps(record))
    with pytest.raises(RedteamError, match=r"seeds.*not used unless you name it yourself"):
        algorithms.train(policy=players(), out=str(run.path), resume=True, steps=3)


def test_wrong_values_leave_no_directory(train, tmp_path):
    for seeds in ([], [3], {"harmful": ["  "]}):
        with pytest.raises(RedteamError):
            train(seeds=seeds)
    with pytest.raises(RedteamError, match="do not fit"):
        train(seeds=[Seed(id="1", text="Bake.", harmful=False)], judge="apothecary")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a,b", "b?c"])
def test_a_directory_whose_name_no_source_of_seeds_can_have_is_refused_before_it_is_made(
    tmp_path, name
):
    given = {**options("reinforce", tmp_path / name, steps=1), "judge": strict}
    with pytest.raises(RedteamError, match=r"no comma and no question mark; give another out"):
        algorithms.train(policy=players(), **{**given, "seeds": LABELLED})
    assert not list(tmp_path.iterdir())
    assert algorithms.train(policy=players(), **given).finished


JUDGE = """
from redteam_env import Verdict

def reads(dialogue):
    return Verdict(prompt_harmful=True, response_refusal=False, response_harmful=False)

class Reads:
    name, smoke_only = "reads", True

    def judge(self, dialogues):
        return [reads(x) for x in dialogues]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module in the working directory, which a program imports."""
    (tmp_path / "mine.py").write_text(JUDGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("mine")
    del sys.modules["mine"]


@pytest.mark.parametrize("name", ["reads", "Reads"])
def test_a_judge_that_a_program_gave_is_named_on_the_command_line_on_resume(
    train, mine, tmp_path, name, monkeypatch
):
    given = getattr(mine, name)
    train(seeds=LABELLED, judge=given if name == "reads" else given())
    run = Run(tmp_path / "run")
    assert run.stored_config()["judge"] == f"mine.py:{name}"
    (tmp_path / "elsewhere").mkdir()
    for step, place, spec in (
        (3, "", f"mine.py:{name}"),
        (4, "", f"mine:{name}"),
        (5, "elsewhere", f"../mine.py:{name}"),
    ):
        monkeypatch.chdir(tmp_path / place)
        with registry.isolated():
            name_code("train", ["--judge", spec])
            again = {"out": str(run.path), "resume": True, "steps": step, "judge": spec}
            assert algorithms.train(policy=players(), **again).finished
    assert len(metrics(run.path)) == 5
    assert run.stored_config()["judge"] == f"mine.py:{name}"
    (tmp_path / "mine.py").write_text(f"{JUDGE}\nchanged = True\n")
    with pytest.raises(RedteamError, match="begun with something else"):
        train(seeds=LABELLED, judge=given if name == "reads" else given(), steps=6, resume=True)


def test_a_judge_without_a_name_of_its_own_is_given_again(train, tmp_path):
    with pytest.raises(RedteamError, match=r"another.*given again: judge=FUNCTION"):
        train(seeds=LABELLED, judge=f"{__name__}:another")
    train(seeds=LABELLED, judge=lambda dialogue: NEITHER)
    assert Run(tmp_path / "run").stored_config()["judge"].startswith(f"{__name__}:")
