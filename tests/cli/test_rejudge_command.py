"""``redteam-env rejudge``: stored games under another judge."""

import json

import pytest
from rejudge_fakes import WORDS, rejudged

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.runs import Run


@pytest.fixture
def evaluated(tmp_path, contrary):
    out = tmp_path / "evaluated"
    assert (
        main(["evaluate", *WORDS, "--attacker", "echo", "--defender", "harm", "--out", str(out)])
        == 0
    )
    return out


def test_an_evaluation_under_another_judge(evaluated, contrary, capsys):
    capsys.readouterr()
    assert rejudged(evaluated) == 0
    out = capsys.readouterr().out
    assert "echo against harm" in out
    row = next(x for x in out.splitlines() if x.startswith("attack success (raw)"))
    assert row.split()[3:9] == ["1.00", "[0.34,", "1.00]", "0.00", "[0.00,", "0.66]"]
    assert row.split()[-2:] == ["2/2", "0/2"]
    assert "Cohen's kappa" in out
    assert "Judged then by: words" in out
    assert "Judge: contrary" in out
    assert contrary.asked <= 8


def test_json_and_out_hold_both_judges_and_the_games_with_new_verdicts(evaluated, tmp_path, capsys):
    out = tmp_path / "again"
    capsys.readouterr()
    assert rejudged(evaluated, "--out", str(out), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "report.json").read_text())
    (table,) = printed["result"]["tables"]
    assert table["before"]["judge"] == "words"
    assert table["after"]["rates"]["attack_success"]["rate"] == 0.0
    assert table["differences"]["attack_success"]["difference"] == -1.0
    assert table["agreement"]["response_harmful"]["differing"]["n"] == 8
    assert printed["judge"]["name"] == "contrary"
    games = [Episode.from_json(x) for x in (out / "episodes.jsonl").read_text().splitlines()]
    assert {x.verdict.judge for x in games} == {"contrary"}
    assert rejudged(out, judge="words") == 0  # what it wrote can be read again
    assert "echo against harm" in capsys.readouterr().out
    assert rejudged(evaluated, "--out", str(out)) == 2


def test_a_cross_play_is_judged_pairing_by_pairing_and_each_dialogue_once(
    tmp_path, contrary, capsys
):
    out = tmp_path / "crossed"
    words = ["crossplay", "echo", "harm", *WORDS, "--out", str(out)]
    assert main(words) == 0
    capsys.readouterr()
    assert rejudged(out) == 0
    said = capsys.readouterr().out
    assert "echo against harm" in said
    assert "harm against echo" in said
    games = [
        Episode.from_json(line)
        for file in (out / "episodes").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    dialogues = {game.dialogue for game in games}
    assert len(dialogues) < len(games)
    assert contrary.asked == len(dialogues)


def test_the_games_of_a_run(evaluated, tmp_path, contrary, capsys):
    games = [Episode.from_json(x) for x in (evaluated / "episodes.jsonl").read_text().splitlines()]
    run = Run(tmp_path / "run")
    run.write_record({"config": {"judge": "words"}, "started_in": str(tmp_path)})
    for step in range(3):
        run.write_episodes(step, games)
    capsys.readouterr()
    assert rejudged(run.path) == 0
    assert "games of the steps 0 to 2" in capsys.readouterr().out
    assert rejudged(run.path, "--last", "1", "--json") == 0
    (table,) = json.loads(capsys.readouterr().out)["result"]["tables"]
    assert table["games"] == "games of the steps 2 to 2"
    assert table["after"]["rates"]["games"] == 8


def test_a_game_that_was_void_may_be_judged_now_and_the_other_way_round(tmp_path, contrary, capsys):
    out = tmp_path / "broken"
    words = ["evaluate", *WORDS, "--attacker", "echo", "--defender", "broken", "--out", str(out)]
    assert main(words) == 1
    assert rejudged(out) == 0
    contrary._answers["response_refusal"] = None
    assert rejudged(out) == 1
    assert "nothing was measured" in capsys.readouterr().err


def spoiled(line, **changes):
    return json.dumps({**json.loads(line), **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: "no json",
        lambda line: "[" * 5000,
        lambda line: spoiled(line, schema=99),
        lambda line: spoiled(line, turns=[{"seat": 3}]),
        lambda line: spoiled(line, seed={**json.loads(line)["seed"], "text": 7}),
        lambda line: spoiled(line, verdict={"prompt_harmful": "yes"}),
        lambda line: spoiled(line, rewritten="no"),
        lambda line: spoiled(line, rewards={"attacker_0": "much"}),
    ],
)
def test_a_strangers_damaged_game_is_one_line(evaluated, spoil, capsys):
    file = evaluated / "episodes.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([spoil(lines[0]), *lines[1:]]))
    capsys.readouterr()
    assert rejudged(evaluated) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Line 1" in err


@pytest.mark.parametrize(
    "result",
    [None, [], {"attacker": 3, "defender": ["x"]}, {"attackers": 7}, {"tables": [1, {"games": 2}]}],
)
def test_a_strangers_report_names_players_and_nothing_else(evaluated, result, capsys):
    (evaluated / "report.json").write_text(json.dumps({"schema": 1, "result": result}))
    assert rejudged(evaluated) == 0
    assert "attacker against defender" in capsys.readouterr().out


def test_a_link_out_of_the_directory_is_not_followed_unasked(evaluated, tmp_path, capsys):
    secret = tmp_path / "secret.jsonl"
    (evaluated / "episodes.jsonl").rename(secret)
    (evaluated / "episodes.jsonl").symlink_to(secret)
    capsys.readouterr()
    assert rejudged(evaluated) == 2
    assert "lies outside of it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no run and holds no report.json"),
        ({"report.json": '{"schema": 1, "result": {}}'}, "holds no games"),
        ({"report.json": '{"schema": 9, "result": {}}'}, "schema 9"),
        ({"config.json": '{"schema": 1, "config": {}}'}, "has no games"),
    ],
)
def test_a_directory_without_games_is_refused_in_words(tmp_path, contrary, files, message, capsys):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert rejudged(tmp_path) == 2
    assert message in capsys.readouterr().err
    assert rejudged(tmp_path / "absent") == 2
    assert "no directory" in capsys.readouterr().err


def test_the_last_steps_of_what_is_no_run_are_refused(evaluated, capsys):
    assert rejudged(evaluated, "--last", "2") == 2
    assert "--last" in capsys.readouterr().err
