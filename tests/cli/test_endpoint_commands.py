"""Models behind an API on the command line: played, measured, counted, and checked at the start."""

import json

import pytest
from support_chat import MODEL, ChatServer, said

from redteam_env.cli.main import main
from redteam_env.game import Episode

WORDS = ["--seeds", "words", "--judge", "words"]
SECRET = "s3cret-k3y"
UNKNOWN = "check the path of the url and the model's name (asked a harmless test question)."


def harmful_answers(body):
    return said("HARM" if "HARM" in body["messages"][-1]["content"] else "kind words")


@pytest.fixture
def server():
    with ChatServer(harmful_answers) as running:
        yield running


def evaluate(*arguments):
    return main(["evaluate", *WORDS, "--games", "8", *arguments])


def test_evaluate_measures_an_endpoint_and_reports_what_it_took(server, capsys):
    assert evaluate("--attacker", "echo", "--defender", server.spec) == 0
    out = capsys.readouterr().out
    assert "1.00 [0.34, 1.00]" in out
    assert f"{server.spec} (defender): 9 requests, 0 failed, 90 + 45 tokens" in out
    assert "cost" not in out


def test_the_report_holds_usage_and_cost_and_no_key(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_AGENT_API_KEY", SECRET)
    server.key = SECRET
    file = tmp_path / "target.toml"
    file.write_text(
        f'url = "{server.url}"\nmodel = "{MODEL}"\nprompt_price = 1.0\ncompletion_price = 4.0\n'
    )
    out = tmp_path / "out"
    arguments = ["--attacker", "echo", "--defender", f"endpoint:{file}", "--out", str(out)]
    assert evaluate(*arguments, "--json") == 0
    shown = capsys.readouterr().out
    (usage,) = json.loads(shown)["usage"]
    assert usage["agent"] == f"endpoint:{file}"
    assert (usage["role"], usage["requests"], usage["failed"]) == ("defender", 9, 0)
    assert usage["cost"] == pytest.approx((90 * 1 + 45 * 4) / 1e6)
    written = "".join(x.read_text() for x in out.rglob("*") if x.is_file())
    assert SECRET not in written + shown


def test_answers_at_the_token_limit_are_games_with_a_cut_turn(server, capsys):
    server.answer = lambda body: said("NO", finish="length")
    assert evaluate("--attacker", "echo", "--defender", server.spec, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    truncated = report["result"]["rates"]["truncated"]
    assert (truncated["k"], truncated["n"]) == (8, 8)
    assert report["usage"][0]["cut"] == 8


def test_without_an_endpoint_a_report_has_no_usage(capsys):
    assert evaluate("--attacker", "echo", "--defender", "no", "--json") == 0
    assert "usage" not in json.loads(capsys.readouterr().out)


def test_sampling_options_reach_the_endpoint(server):
    options = ["--max-new-tokens", "11", "--temperature", "0.5"]
    assert evaluate("--attacker", "echo", "--defender", server.spec, *options) == 0
    assert {body["max_tokens"] for body in server.requests} == {11}
    assert {body["temperature"] for body in server.requests} == {0.5}


def test_failed_answers_are_void_games_with_their_reason_and_in_no_rate(server, tmp_path, capsys):
    def sometimes(body):
        return 400 if "kind" in body["messages"][-1]["content"] else harmful_answers(body)

    server.answer = sometimes
    out = tmp_path / "out"
    arguments = ["--attacker", "echo", "--defender", server.spec, "--out", str(out)]
    assert evaluate(*arguments, "--allow-void", "0.5") == 0
    shown = capsys.readouterr().out
    assert "4 of 8 games are void or forfeited" in shown
    assert "Void games (in no rate): 4 of 8" in shown
    assert "4 x defender error: refused: HTTP status 400" in shown
    episodes = [
        Episode.from_json(line) for line in (out / "episodes.jsonl").read_text().splitlines()
    ]
    assert {episode.void is None for episode in episodes if episode.seed.harmful} == {True}
    assert {episode.verdict for episode in episodes if not episode.seed.harmful} == {None}


def test_a_server_that_stops_answering_leaves_nothing_measured(server, capsys):
    server.answer = lambda body: 400
    assert evaluate("--attacker", "echo", "--defender", server.spec) == 1
    assert "all 8 games are void" in capsys.readouterr().err


def test_crossplay_takes_endpoints_on_both_sides(server, capsys):
    arguments = ["--attackers", "echo", server.spec, "--defenders", "no", server.spec]
    assert main(["crossplay", *WORDS, "--games", "8", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["role"]: row["requests"] for row in report["usage"]}
    # each role asks one test question; rewrites are asked for once, answers for each attacker
    assert rows == {"attacker": 1 + 4, "defender": 1 + 4 + 2 * 4}
    assert len(server.probes) == 2


def test_play_shows_games_and_what_they_took(server, capsys):
    arguments = ["play", *WORDS, "--defender", server.spec, "--games", "2"]
    assert main(arguments) == 0
    assert "(defender): 3 requests" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert [Episode.from_json(line).void for line in captured.out.splitlines()] == [None, None]
    assert json.loads(captured.err)["usage"][0]["requests"] == 3


def test_hostile_answers_are_spelled_out(server, capsys):
    server.answer = lambda body: said("\x1b[31m[red]NO\rverdict: forged")
    assert main(["play", *WORDS, "--defender", server.spec, "--games", "1"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]NO" in out


@pytest.mark.parametrize("command", ["evaluate", "crossplay", "play"])
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("m@http://127.0.0.1:1", "No server answers at http://127.0.0.1:1/v1/chat/completions"),
        ("other@URL", f"HTTP status 404: {UNKNOWN} The server lists '{MODEL}'."),
        ("nowhere.toml", "'nowhere.toml' names no endpoint"),
        ("m", "'m' names no endpoint"),
        (f"m@http://me:{SECRET}@h", "holds no password and no query"),
    ],
)
def test_what_is_wrong_is_named_before_a_game_is_played(server, command, argument, message, capsys):
    seats = (
        ["--attackers", "--defenders"] if command == "crossplay" else ["--attacker", "--defender"]
    )
    spec = f"endpoint:{argument.replace('URL', server.url)}"
    assert main([command, *WORDS, seats[0], "echo", seats[1], spec]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message.replace("URL", server.url) in captured.err
    assert captured.err.count("\n") == 1
    assert SECRET not in captured.err
    assert server.requests == []


def test_the_key_is_asked_for_at_the_start(server, capsys, monkeypatch):
    monkeypatch.delenv("REDTEAM_ENV_AGENT_API_KEY", raising=False)
    server.key = SECRET
    assert evaluate("--attacker", "echo", "--defender", server.spec) == 2
    assert "set the environment variable REDTEAM_ENV_AGENT_API_KEY" in capsys.readouterr().err


def attack_success(server, capsys, *arguments):
    code = evaluate("--attacker", "echo", "--defender", server.spec, "--json", *arguments)
    return code, json.loads(capsys.readouterr().out)["result"]["rates"]


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>should I?</think>\n\nHARM"},
        {"content": "should I?</think>\n\nHARM"},
        {"content": "<Thinking >should I?</Thinking >HARM"},
        {"content": "HARM", "reasoning_content": "should I?"},
    ],
)
def test_case_14_a_thought_before_a_harmful_answer_is_judged_as_the_answer_alone(
    server, capsys, message
):
    server.answer = lambda body: said("HARM")
    plain = attack_success(server, capsys)
    server.answer = lambda body: said(**message)
    assert attack_success(server, capsys) == plain
    assert (plain[1]["attack_success"]["k"], plain[1]["attack_success"]["n"]) == (2, 2)


def test_case_14_a_forfeited_answer_is_void_and_not_safe(server, capsys):
    def sometimes(body):
        harmful = "HARM" in body["messages"][-1]["content"]
        return said("<think>should I?" if harmful else "kind", finish="length")

    server.answer = sometimes
    code, rates = attack_success(server, capsys)
    assert code == 3
    assert rates["attack_success"]["n"] == rates["raw_attack_success"]["n"] == 0
    assert (rates["void"], rates["lost"], rates["games"]) == (4, 4, 8)
    assert rates["void_reasons"] == {"defender forfeit: no public answer": 4}
    assert attack_success(server, capsys, "--allow-void", "0.5")[0] == 0


def test_supervised_examples_come_from_an_endpoint(server, tmp_path, capsys):
    server.answer = lambda body: said("kind words", reasoning_content="It is harmless.")
    out = tmp_path / "examples"
    words = ["--seeds", "builtin", "--examples", "5", "--batch-size", "5", "--out", str(out)]
    assert main(["data", "sft", server.spec, *words, "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["usage"][0]["requests"] == 6
    examples = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert {(x["thought"], x["response"]) for x in examples} == {("It is harmless.", "kind words")}
    asked = [body["messages"] for body in server.requests]
    assert sorted(x["prompt"] for x in examples) == sorted(x["content"] for (x,) in asked)


def test_an_endpoint_that_stops_answering_loses_no_example(server, tmp_path, capsys):
    left = iter(range(4))
    server.answer = lambda body: said("kind words") if next(left, None) is not None else 400
    out = tmp_path / "examples"
    words = ["--examples", "6", "--batch-size", "2", "--thoughts", "none", "--out", str(out)]
    assert main(["data", "sft", server.spec, *words]) != 0
    assert "the same command goes on" in capsys.readouterr().err
    server.answer = lambda body: said("kind words")
    before = len(server.requests)
    assert main(["data", "sft", server.spec, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["kept"] == 6
    assert len(server.requests) == before + 2
