"""Code can be named wherever a plug-in can, on the command line and nowhere else."""

import json
import re
import sys

import pytest

from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.runs import Run
from redteam_env.trust import STARTED, allow, in_words_of, options_of, sealed
from redteam_env.utils.argv import commanded

CODE = """
from redteam_env import DataCard, Reply, Seed, Verdict
from redteam_env.attacks import SearchAttack
from redteam_env.seeds.source import ListSource, stable_split

CARD = DataCard(name="mine", licence="CC0-1.0", revision="1", sha256="", origin="here")


class Agent:
    def __init__(self, role):
        self.role = role

    def act(self, requests):
        return [Reply(text=f"I play the {self.role}.") for _ in requests]


class Plain:
    def act(self, requests):
        return [Reply(text="I play any role.") for _ in requests]


def polite(messages):
    return "I'm sorry, but I can't help with that."


class Judge:
    name, smoke_only = "mine", False

    def __init__(self, harm=True):
        self.harm = harm

    def judge(self, dialogues):
        return [Verdict(prompt_harmful=True, response_refusal=False, response_harmful=self.harm) for _ in dialogues]


judge = Judge(harm=False)


def reads(dialogue):
    return judge.judge([dialogue])[0]


def source(argument=None):
    labels = ("harmful", "benign")
    return ListSource([Seed(id=x, text=f"{x} text", harmful=x == "harmful", split="heldout") for x in labels], CARD)


LISTED = [Seed(id=x, text=f"{x} text", harmful=x == "harmful", split="heldout") for x in ("harmful", "benign")]


def texts():
    return {label: [f"{label} text {k}" for k in range(30)] for label in ("harmful", "benign")}


FOR_TRAINING = [x for x in map(str, range(20)) if stable_split(x) == "train"]
FOR_TESTING = [x for x in map(str, range(40)) if stable_split(x) == "heldout"]
MARKED = [Seed(id="a", text="a", harmful=True, split="train")]


class Two(SearchAttack):
    name = "two"

    def search(self, case):
        while case.left:
            yield from case.attempt(f"{case.left}: {case.goal}")


class Written(Two):
    name, asks_model = "written", True


number = 3
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mine", None)  # afterwards it is as it was
    del sys.modules["mine"]


@pytest.mark.parametrize(
    ("judge", "success"),
    [("Judge", 1.0), ("Judge?harm=false", 0.0), ("judge", 0.0), ("reads", 0.0)],
)
def test_classes_objects_and_functions_of_a_file_play_and_judge(code, judge, success, capsys):
    words = ["--seeds", "./mine.py:source", f"--judge=mine.py:{judge}", "--games", "4"]
    assert main(["crossplay", *words, "--json", "mine.py:Agent", "mine.py:polite"]) == 0
    cells = json.loads(capsys.readouterr().out)["result"]["cells"]
    assert cells[0]["attacker"] == "mine.py:Agent"
    assert {x["rates"]["attack_success"]["rate"] for x in cells} == {success}


def test_a_judge_of_a_file_is_calibrated(code, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text(
        "prompt,response,response_harmful\n" + "A,A,yes\nB,B,no\n" * 20
    )
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n\nclass Versioned(Judge):\n    revision = '1'\n")
    words = ["judge", "calibrate", "mine.py:Versioned", "--labels", "labels.csv", "--out", "c.json"]
    assert main(words) == 0
    assert "response_harmful, on labels.csv" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["LISTED", "texts"])
def test_a_class_without_a_role_plays_and_lists_of_seeds_and_texts_are_read(code, seeds, capsys):
    words = ["--attacker", "mine.py:Plain", "--defender", "mine.py:polite", "--games", "4"]
    assert (
        main(["evaluate", *words, "--judge", "mine.py:reads", "--seeds", f"mine.py:{seeds}"]) == 0
    )
    assert "Void games (in no rate): 0 of 4" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "crossplay", "play"])
def test_texts_in_a_list_are_of_the_split_that_is_played(code, command, capsys):
    words = ["--attacker", "template", "--defender", "refuse"]
    if command == "crossplay":
        words = ["template", "refuse"]
    if command == "play":
        words += ["--benign-fraction", "0"]
    for seeds in ("FOR_TRAINING", "FOR_TESTING"):  # as they would be divided for training
        assert main([command, *words, "--seeds", f"mine.py:{seeds}", "--games", "1"]) == 0
        said = [x for x in capsys.readouterr().err.splitlines() if "without a label" in x]
        assert len(said) == 1
        assert said[0].startswith("Warning: ")


def test_seeds_without_held_out_ones_are_named_as_typed(code, capsys):
    words = ["--attacker", "template", "--defender", "refuse", "--seeds", "mine.py:MARKED"]
    assert main(["evaluate", *words]) == 2
    assert "The seeds 'mine.py:MARKED' have no split 'heldout'" in capsys.readouterr().err


def test_a_module_of_the_working_directory_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "module_here.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = ["--attacker", "module_here:Plain", "--defender", "module_here:polite"]
    assert main(["play", *words, "--games", "1"]) == 0
    assert "I play any role." in capsys.readouterr().out


@pytest.mark.parametrize(
    "attack",
    [
        ["--attack", "mine.py:Two"],
        ["--attack", "mine.py:Written:mine.py:polite"],
        ["--attack", "mine.py:Written", "--attacker", "mine.py:Plain"],
        ["--attacker", "attack:mine.py:Two"],
        ["--attacker", "attack:best_of_n"],
    ],
)
def test_an_attack_and_who_writes_for_it_are_named_by_their_code(code, attack, capsys):
    words = ["--defender", "mine.py:polite", "--judge", "mine.py:Judge", "--games", "2"]
    assert main(["evaluate", *attack, *words]) == 0
    assert "attack success" in capsys.readouterr().out.lower()


def test_a_module_that_is_installed_is_named_by_its_name(code, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--attacker", "mine:Agent", "--defender", "mine:polite", "--games", "1"]
    assert main(["play", *words]) == 0
    assert "I play the attacker." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mine.py:nothing", "has no 'nothing'"),
        ("gone.py:Agent", "there is no file 'gone.py'"),
        ("mine.py:number", "is no agent"),
        ("broken.py:Agent", "SyntaxError"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(code, tmp_path, word, message, capsys):
    (tmp_path / "broken.py").write_text("(")
    assert main(["evaluate", word, "--games", "2"]) == 2
    assert message in capsys.readouterr().err


def test_studies_say_where_their_plug_ins_come_from(code, capsys):
    assert main(["bench", "--algorithms", "grpo,mine.py:Judge", "--out", "bench"]) == 2
    assert "plan in Python that registers it" in capsys.readouterr().err


def test_names_keep_their_meaning(capsys):
    before = registry.found()
    assert (
        main(["play", "--defender", "refuse", "--judge-player", "judge:lexical", "--games", "1"])
        == 0
    )
    assert registry.found() == before


def test_a_strangers_run_names_no_code(code, tmp_path, capsys):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    config = {"seeds": "builtin", "judge": "mine.py:Judge", "thinking": "none"}
    record = {"schema": 1, "config": config, "versions": {}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    assert main(["evaluate", "run", "--games", "2"]) == 2
    said = capsys.readouterr().err
    assert "it ran" not in said
    assert "mine.py:Judge" in said


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("command", ["evaluate", "crossplay", "train"])
def test_a_run_that_names_code_says_so_and_how_to_name_it(code, tmp_path, command, own, capsys):
    run = Run(tmp_path / "run")
    (run.path / "checkpoints").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    config = {"seeds": "builtin", "judge": "mine.py:Judge?harm=true", "thinking": "none"}
    record = {"config": config, "versions": {}, STARTED: str(tmp_path)}
    run.write_record(sealed(record) if own else record)
    words = ["--out", "run", "--resume"] if command == "train" else ["run", "--games", "2"]
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert "it ran" not in said
    assert "names code as its judge: 'mine.py:Judge?harm=true'" in said
    assert "add --judge 'mine.py:Judge?harm=true'." in said
    assert said.count("\n") == 1


def test_a_run_means_the_code_of_the_directory_that_it_was_started_in(code, tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    config = {
        "judge": "mine.py:Judge?harm=false",
        "algorithm": "sub/mine.py:Learner",
        "opponent": "attack:mine.py:Attack:mine.py:Agent?attempts=2",
        "opponents": "mixed:pair,mine.py:Attack,self",
        "suites": "mine.py:one,lexical,package.module:Thing",
    }
    run.write_record({"config": config, "versions": {}, STARTED: str(tmp_path)})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    meant = options_of(run)
    assert meant == {
        "judge": f"{tmp_path}/mine.py:Judge?harm=false",
        "algorithm": f"{tmp_path}/sub/mine.py:Learner",
        "opponent": f"attack:{tmp_path}/mine.py:Attack:{tmp_path}/mine.py:Agent?attempts=2",
        "opponents": f"mixed:pair,{tmp_path}/mine.py:Attack,self",
        "suites": f"{tmp_path}/mine.py:one,lexical,package.module:Thing",
    }
    same = {"judge": "../mine.py:Judge?harm=false"}
    assert in_words_of(run, same) == {"judge": config["judge"]}
    with pytest.raises(RedteamError, match="give the object itself, judge=Judge"):
        allow(run, {"judge": meant["judge"]})
    with pytest.raises(RedteamError, match=re.escape(f"add opponent={meant['opponent']!r}.")):
        allow(run, {"opponent": meant["opponent"]})
    with commanded(), pytest.raises(RedteamError, match=f"add --judge '{meant['judge'][:-12]}"):
        allow(run, {"judge": meant["judge"]})
