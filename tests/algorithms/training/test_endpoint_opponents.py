"""A one-sided run against a model behind an API."""

import json

import pytest
from support_chat import MODEL, ChatServer, said
from support_servers import RecordedJudgeServer
from training_fakes import metrics

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.judges.wildguard import wildguard


@pytest.fixture
def server():
    with ChatServer() as running:
        yield running


def turns(run, seat):
    texts = [f.read_text() for f in sorted((run / "episodes").glob("*.jsonl"))]
    episodes = [json.loads(line) for text in texts for line in text.splitlines()]
    return [turn for episode in episodes for turn in episode["turns"] if turn["seat"] == seat]


@pytest.mark.parametrize(
    ("arrangement", "seat"), [("attacker_only", "defender_0"), ("defender_only", "attacker_0")]
)
def test_an_endpoint_plays_the_frozen_seat(tiny_config, tmp_path, server, arrangement, seat):
    server.answer = lambda body: said("HARM fine")
    outcome = train(tiny_config(arrangement=arrangement, opponent=server.spec, steps=1))
    assert outcome.finished
    played = turns(tmp_path / "run", seat)
    assert {turn["text"] for turn in played} == {"HARM fine"}
    assert {turn["generation"] for turn in played} == {None}
    assert len(server.requests) == len(played)


def test_what_an_endpoint_took_is_logged_by_step_and_summed_up(arguments, tmp_path, server, capsys):
    command = arguments(arrangement="attacker_only", opponent=server.spec, checkpoint_every=2)
    assert main(command) == 0
    rows = metrics(tmp_path / "run")
    asked = [row["usage/defender/requests"] for row in rows]
    assert sum(asked) == len(server.requests) == 16
    assert [row["usage/defender/prompt_tokens"] for row in rows] == [10 * x for x in asked]
    assert [row["usage/defender/completion_tokens"] for row in rows] == [5 * x for x in asked]
    assert "usage/defender/cost" not in rows[0]
    (usage,) = json.loads(capsys.readouterr().out)["usage"]
    assert (usage["agent"], usage["role"]) == (server.spec, "defender")
    assert usage["requests"] == 16 + len(server.probes)
    assert main([*(x for x in command if x != "--json"), "--resume", "--steps", "3"]) == 0
    assert f"{server.spec} (defender): 9 requests, 0 failed" in capsys.readouterr().out


def test_the_price_of_an_opponent_is_logged(tiny_config, tmp_path, server):
    file = tmp_path / "target.toml"
    file.write_text(
        f'url = "{server.url}"\nmodel = "{MODEL}"\nprompt_price = 1.0\ncompletion_price = 4.0\n'
    )
    config = tiny_config(arrangement="attacker_only", opponent=f"endpoint:{file}")
    outcome = train(config)
    rows = metrics(tmp_path / "run")
    assert [row["usage/defender/cost"] for row in rows] == pytest.approx([8 * 30 / 1e6] * 2)
    assert outcome.usage[0]["cost"] == pytest.approx(17 * 30 / 1e6)


def test_what_a_scripted_opponent_took_is_logged(tiny_options, tmp_path, server):
    server.answer = lambda body: said("HARM fine")
    share = {"scripted_share": 0.5, "scripted_attackers": f"echo,{server.spec}"}
    more = {"rewrite_fraction": 1.0, "out": str(tmp_path / "run"), **share}
    outcome = train(TrainConfig.from_flat({**tiny_options, **more}))
    rows = metrics(tmp_path / "run")
    assert (
        sum(row["usage/scripted_attacker_2/requests"] for row in rows) == len(server.requests) > 0
    )
    (usage,) = outcome.usage
    assert (usage["agent"], usage["role"]) == (server.spec, "scripted_attacker_2")


@pytest.mark.parametrize(("path", "requests"), [("", 8), ("/classify", 1)])
def test_what_a_judge_behind_http_took_is_logged(tiny_config, doubles, tmp_path, path, requests):
    file = tmp_path / "template"
    file.write_text("{prompt} {response}")
    options = {} if path else {"template_file": file}
    doubles("judges", "served", lambda url: wildguard(url, **options))
    with RecordedJudgeServer() as judge:
        outcome = train(tiny_config(judge="served", judge_url=judge.url + path))
    rows = metrics(tmp_path / "run")
    assert [row["usage/judge/requests"] for row in rows] == [requests, requests]
    assert [row["usage/judge/unmetered"] for row in rows] == [requests, requests]
    (usage,) = outcome.usage
    assert (usage["agent"], usage["role"]) == ("wildguard", "judge")
    assert usage["requests"] == len(judge.requests)


def test_without_anybody_behind_an_api_no_usage_is_logged(tiny_config, tmp_path):
    assert train(tiny_config(steps=1)).usage == []
    assert not any(name.startswith("usage/") for name in metrics(tmp_path / "run")[0])


def test_games_without_an_answer_are_void_and_train_nobody(tiny_config, tmp_path, server):
    # by the parity of the request's seed, not of its arrival
    server.answer = lambda body: 400 if body["seed"] % 2 else said("fine")
    more = {"arrangement": "attacker_only", "opponent": server.spec, "void_steps": 0}
    outcome = train(tiny_config(**more, steps=1))
    failed = [turn for turn in turns(tmp_path / "run", "defender_0") if turn["error"]]
    assert 0 < len(failed) < 8
    assert outcome.void == len(failed)
    row = metrics(tmp_path / "run")[0]
    assert row["game/void"] == len(failed)
    assert row["defender/turns"] == row["game/games"] - len(failed)


def test_a_server_that_is_not_there_is_named_before_anything_is_written(tiny_config, tmp_path):
    config = tiny_config(arrangement="attacker_only", opponent="endpoint:m@http://127.0.0.1:1")
    with pytest.raises(RedteamError, match="No server answers at"):
        train(config)
    assert not (tmp_path / "run").exists()
