"""A one-sided run against a model behind an API."""

import json

import pytest
from support_chat import ChatServer, said
from training_doubles import metrics

from algorithms.trainer import train
from redteam_env.game import RedteamError


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


def test_games_without_an_answer_are_void_and_train_nobody(tiny_config, tmp_path, server):
    # by the parity of the request's seed, not of its arrival
    server.answer = lambda body: 400 if body["seed"] % 2 else said("fine")
    outcome = train(tiny_config(arrangement="attacker_only", opponent=server.spec, steps=1))
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
