"""The real inspect_ai reads the logs that are written for it."""

import pytest
from support_pages import game, make_evaluation, make_run

from redteam_env.cli.main import main
from redteam_env.evaluation import measure
from redteam_env.game import DEFENDER, RedteamError, Turn
from redteam_env.page import write_logs

log = pytest.importorskip("inspect_ai.log")


def written(tmp_path, *places, show_text=True):
    files = write_logs(places, tmp_path / "logs", show_text=show_text, most_games=1000)
    return [log.read_eval_log(str(file)) for file in files]


def test_a_log_has_every_game_with_its_dialogue_and_scores(tmp_path):
    games = [game(k, text=f"words {k}", told=k < 3) for k in range(8)]
    (found,) = written(tmp_path, make_evaluation(tmp_path / "mine", games))
    assert found.status == "success"
    assert len(found.samples) == 8
    first = found.samples[0]
    assert (first.input, first.target) == ("words 0", "harmful")
    assert [(x.role, x.text) for x in first.messages] == [
        ("user", "words 0"),
        ("assistant", "words 0"),
    ]
    assert first.messages[0].metadata["thought"] == "thought words 0"
    assert first.scores["attack_success"].value == 1
    assert "over_refusal_raw" not in first.scores
    rates = {x.name: x.metrics["rate"].value for x in found.results.scores}
    assert rates["attack_success"] == measure(games).attack_success.value


def test_a_run_is_one_log_and_raw_games_begin_with_the_request(tmp_path):
    raw = game(text="ask", rewritten=False, turns=(Turn(seat=DEFENDER, text="no", visible="no"),))
    (found,) = written(tmp_path, make_run(tmp_path / "run", games=[[raw], [raw]]))
    assert [x.metadata["games"] for x in found.samples] == ["step 1", "step 2"]
    assert [x.text for x in found.samples[0].messages] == ["ask", "no"]


def test_texts_are_left_out_unless_asked_for(tmp_path):
    evil = "secret \ud800 \u202e"
    games = [game(text=evil, void=f"judge error: {evil}")]
    (found,) = written(tmp_path, make_evaluation(tmp_path / "a", games), show_text=False)
    assert "secret" not in found.model_dump_json()
    (found,) = written(tmp_path, make_evaluation(tmp_path / "b", games))
    assert found.samples[0].input == "secret \\ud800 \\u202e"


def test_the_command_writes_logs_and_refuses_what_has_no_games(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    out = tmp_path / "out"
    assert main(["report", str(run), "--format", "eval", "-o", str(out)]) == 0
    assert "1 logs in" in capsys.readouterr().out
    assert [x.name for x in out.iterdir()] == ["run.eval"]
    with pytest.raises(RedteamError, match="None of these has games"):
        written(tmp_path, make_run(tmp_path / "empty", games=[]))


def test_logs_of_a_report_are_replaced_and_nothing_else_is(tmp_path):
    run, logs = make_run(tmp_path / "run"), tmp_path / "logs"
    written(tmp_path, run)
    mine = logs / "notes.txt"
    mine.write_text("mine")
    (again,) = written(tmp_path, make_run(tmp_path / "other" / "run", games=[[game()]]))
    assert len(again.samples) == 1
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("whose", ["no log", "another's log", "a directory"])
def test_what_is_no_log_of_a_report_is_not_replaced(tmp_path, capsys, whose):
    logs = tmp_path / "logs"
    (found,) = written(tmp_path, make_run(tmp_path / "run"))
    file = logs / "run.eval"
    if whose == "another's log":
        found.eval.metadata = None
        log.write_eval_log(found, str(file), format="eval")
    else:
        file.unlink()
        file.write_text("mine") if whose == "no log" else file.mkdir()
    before = file.is_file() and file.read_bytes()
    places = [str(make_run(tmp_path / "first")), str(tmp_path / "run")]
    assert main(["report", *places, "--format", "eval", "-o", str(logs)]) == 2
    said = capsys.readouterr().err
    assert f"'{file}' is there and is no log of a report; name another directory" in said
    assert said.count("\n") == 1
    assert (file.is_file() and file.read_bytes()) == before
    assert [x.name for x in logs.iterdir()] == ["run.eval"], (
        "nothing is written before all are free"
    )
