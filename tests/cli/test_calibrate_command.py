"""``redteam-env judge calibrate``, and the tables after it."""

import json
from dataclasses import dataclass
from functools import partial

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Verdict
from redteam_env.registry import register

ROWS = "\n".join(
    ["prompt,response,response_harmful,response_refusal"]
    + [f"HARM {k},HARM {k},{'yes' if k % 10 else 'no'},no" for k in range(40)]
    + [f"kind {k},NO {k},{'no' if k % 10 else 'yes'},yes" for k in range(60)]
)
PAIR = ["--seeds", "words", "--judge", "words", "--attacker", "echo", "--defender", "harm"]


@pytest.fixture
def labels(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_DATA", str(tmp_path / "data"))
    file = tmp_path / "labels.csv"
    file.write_text(ROWS)
    return str(file)


def calibrate(labels, *more):
    return main(["judge", "calibrate", "words", "--labels", labels, *more])


def test_it_prints_figures_with_intervals_and_what_raw_rates_stand_for(labels, capsys):
    assert calibrate(labels) == 0
    out = capsys.readouterr().out
    assert "response_harmful, on labels.csv" in out
    assert "0.857 [0.722, 0.933]" in out  # 36 of 42
    assert "36/42" in out
    assert "corrected [95 % interval]" in out
    assert "Judge: words" in out
    assert "Kept in" in out


def test_tables_show_what_is_known_of_the_judge_from_then_on(labels, capsys):
    assert main(["evaluate", *PAIR, "--games", "8"]) == 0
    assert "corrected" not in capsys.readouterr().out
    assert calibrate(labels) == 0
    capsys.readouterr()
    for command in (
        ["evaluate", *PAIR, "--games", "8"],
        ["crossplay", "echo", "no", *PAIR[:4], "--games", "8"],
    ):
        assert main(command) == 0
        out = capsys.readouterr().out
        assert "corrected [95 % interval]" in out
        assert "Judge's response_harmful: sensitivity 0.86" in out
        assert "100 answers of labels.csv" in out
        assert "Not calibrated, so not corrected: prompt_harmful" in out
    assert main(["evaluate", *PAIR, "--games", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["corrected"]["attack_success"]["labels"] == "labels.csv"
    assert result["calibration"]["judge"]["name"] == "words"


def test_a_standing_attack_is_not_corrected_at_the_attackers_seat_either(labels, capsys):
    """A judge errs more often in the best of several attempts than in the answers that people labelled."""
    assert calibrate(labels) == 0
    attack, words = "attack:template?attempts=2", [*PAIR[:4], "--games", "8"]
    alone = ["evaluate", *words, "--attacker", attack, "--defender", "harm"]
    beside = ["crossplay", *words, "--attackers", attack, "echo", "--defenders", "harm"]
    capsys.readouterr()
    assert main([*alone, "--json"]) == 0
    assert "corrected" not in json.loads(capsys.readouterr().out)["result"]
    assert main([*beside, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["result"]["cells"]
    assert {x["attacker"]: "corrected" in x for x in cells} == {attack: False, "echo": True}
    assert main(beside) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "corrected [95 % interval]" in out
    assert "Standing attacks are not corrected" in out


def test_a_suites_table_shows_it_too(labels, small_suite, capsys):
    rows = "".join(f"HARM {k},harmful\nkind {k},kind\n" for k in range(10))
    suite = small_suite(rows=f"ask,label\n{rows}")
    command = ["evaluate", "--suite", suite, "--defender", "no", "--judge", "words"]
    assert main(command) == 0
    assert "orrected" not in capsys.readouterr().out
    assert calibrate(labels) == 0
    capsys.readouterr()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Corrected for the judge's errors [95 % interval]" in out
    assert "Judge's response_refusal: sensitivity 1.00" in out
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["result"]
    harmful, benign = (own["figures"] for own in row["rows"])
    assert benign["refusal"]["corrected"]["rate"] == 1.0
    assert benign["compliance"]["corrected"]["rate"] == 0.0
    low, high = harmful["success"]["corrected"]["interval"]
    assert low == 0.0 < high
    assert report["calibration"]["fields"]["response_harmful"]["labels"] == "labels.csv"


def test_out_holds_what_json_prints_and_nothing_is_overwritten(labels, tmp_path, capsys):
    file = tmp_path / "calibration.json"
    assert calibrate(labels, "--json", "--out", str(file)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads(file.read_text()) == printed
    assert set(printed["fields"]) == {"response_harmful", "response_refusal"}
    assert calibrate(labels, "--out", str(file)) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["judge", "calibrate", "nope", "--labels", "LABELS"], "Unknown judge 'nope'"),
        (["judge", "calibrate", "words", "--labels", "nope"], "Unknown labelled set 'nope'"),
        (["judge", "calibrate", "words", "--labels", "LABELS?x=1"], "Unknown option"),
        (["judge", "calibrate", "words", "--labels", "LABELS", "--judge-url", "http://a"], "url"),
    ],
)
def test_a_wrong_word_is_refused_before_the_judge_is_asked(labels, words, message, capsys):
    assert main([x.replace("LABELS", labels) for x in words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@dataclass(frozen=True)
class Unversioned:
    """Says yes to everything, and not which version it is."""

    place: str = ""
    name: str = "unversioned"
    smoke_only: bool = False

    def judge(self, dialogues):
        said = Verdict(prompt_harmful=True, response_harmful=True, response_refusal=False)
        return [said] * len(dialogues)


def test_a_judge_that_cannot_be_told_from_another_version_is_not_calibrated(labels, capsys):
    register("judges", "unversioned", Unversioned)
    assert main(["judge", "calibrate", "unversioned", "--labels", labels]) == 2
    assert "does not say its revision" in capsys.readouterr().err
    vote = "vote:unversioned+words"
    assert main(["judge", "calibrate", vote, "--labels", labels]) == 2
    assert "does not say its revision" in capsys.readouterr().err


@pytest.mark.parametrize("spec", ["{}", "vote:{}+words"])
def test_a_judge_that_is_known_by_its_place_is_measured_there_and_tables_say_so(
    spec, labels, capsys
):
    for k in (1, 2):
        place = f"http://a/{k}"
        register("judges", f"at{k}", partial(Unversioned, place=place))
    command = ["judge", "calibrate", spec.format("at1"), "--labels", labels]
    assert main(command) == 0
    told = "measured at http://a/1"
    assert told in " ".join(capsys.readouterr().out.split())
    pair = [spec.format("at1") if x == "words" and y == "--judge" else x for x, y in _beside(PAIR)]
    more = ["--games", "8", "--allow-void", "1"]  # where two votes differ
    assert main(["evaluate", *pair, *more]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert told in out
    assert "corrected [95 % interval]" in out
    elsewhere = [x.replace("at1", "at2") for x in pair]
    assert main(["evaluate", *elsewhere, *more]) == 0
    assert "corrected" not in capsys.readouterr().out


def _beside(words):
    return zip(words, ["", *words], strict=False)


def test_a_judge_that_never_answers_was_not_measured(tmp_path, labels, capsys):
    file = tmp_path / "broken.csv"
    file.write_text("prompt,response,response_harmful\na,BROKEN,yes\n")
    assert calibrate(str(file)) == 2
    assert "nothing was measured: no answer" in capsys.readouterr().err


def test_a_question_that_the_judge_does_not_answer_is_left_out(labels, tmp_path, capsys):
    silent = "composite:prompt=words,refusal=always?response_refusal=unknown,harm=words"
    file = tmp_path / "refusals.csv"
    file.write_text("prompt,response,response_refusal\na,NO,yes\n")
    command = ["judge", "calibrate", silent, "--labels"]
    assert main([*command, labels, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["fields"]) == ["response_harmful"]
    assert main([*command, str(file)]) == 2
    assert "it does not tell response_refusal" in capsys.readouterr().err
