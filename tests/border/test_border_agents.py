"""Agents of others: their replies, their log-odds, what they say they took."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_border_judges import GAMES, Says, fair, one_by_one
from test_rollout import setups

import redteam_env
from redteam_env import Generation, RedteamError, Reply
from redteam_env.evaluation import AgentPool, Dispatcher
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.protocols import TurnRequest, Usage
from redteam_env.registry import resolve_agent
from redteam_env.rollout import play
from redteam_env.testing import faults

JUDGE = one_by_one(fair())


def acting(act, **more):
    """Return an agent that is its method."""
    return type("Mine", (), {"act": lambda self, requests: act(requests), **more})()


def answer(agent):
    return play(GAMES, {DEFENDER: agent}, JUDGE)


def refusal(agent):
    with pytest.raises(RedteamError) as caught:
        answer(agent)
    assert "\n" not in str(caught.value)
    return caught.value


def generation(**fields):
    tokens = {"prompt_ids": (1, 2), "completion_ids": (3,), "logprobs": (-0.5,)}
    return Generation(
        **tokens | {"adapter": "own", "version": 1, "temperature": 1.0, "finished": True} | fields
    )


async def _later(requests):
    return [Reply(text="No.") for _ in requests]


WRONG = {
    "texts": (lambda requests: ["No."] * 3, "gave str 'No.' in place of a Reply"),
    "one text": (lambda requests: "No.", "returned str 'No.'"),
    "nothing": (lambda requests: None, "returned nothing"),
    "a generator": (lambda requests: (Reply(text="No.") for _ in requests), "returned generator"),
    "coroutines": (lambda requests: {0: Reply(text="No.")}, "returned dict"),
    "too many": (lambda requests: [Reply(text="No.")] * 4, "gave 4 replies to 3 requests"),
    "no text": (lambda requests: [Reply(text=None)] * 3, "gave a Reply whose text is None"),
    "bytes": (lambda requests: [Reply(text=b"No.")] * 3, "gave a Reply whose text is b'No.'"),
    "truth as text": (
        lambda requests: [Reply(text="No.", truncated="false")] * 3,
        "gave a Reply whose truncated is 'false'",
    ),
    "no probability": (
        lambda requests: [Reply(text="No.", generation=generation(logprobs=(float("nan"),)))] * 3,
        "gave a Reply whose generation gave a Generation whose logprobs is nan",
    ),
    "an exception": (lambda requests: requests[7], "raised IndexError: "),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_reply_is_one_line_with_the_game(wrong):
    act, came = WRONG[wrong]
    error = str(refusal(acting(act)))
    assert f"The agent of defender_0 {came}" in error
    assert "for game (0, 'step', 0, 'game', 0)" in error
    assert "Mine.act() returns a sequence of redteam_env.Reply" in error


@pytest.mark.parametrize("how", faults.AGENT_FAULTS)
def test_however_an_agent_fails_it_is_one_line_or_a_game_that_json_holds(how):
    agent = faults.FaultyAgent(Says(), faults.When(at=1), how)
    if how in {"coroutine", "error", "empty", "surrogates", "endless"}:
        assert all(json.dumps(episode.to_json()) for episode in answer(agent))
    else:
        assert "The agent of defender_0 " in str(refusal(agent))


def test_an_exception_is_the_errors_cause():
    assert isinstance(refusal(acting(lambda requests: requests[7])).__cause__, IndexError)


def test_an_agent_may_be_asynchronous():
    assert answer(acting(_later)) == answer(Says())


def test_tokens_of_numpy_become_pythons_so_that_json_holds_the_game():
    tokens = generation(
        prompt_ids=np.array([1, 2]),
        completion_ids=[np.int64(3)],
        logprobs=np.array([-0.5], dtype=np.float32),
        version=np.int32(1),
        temperature=np.float32(1),
        finished=np.bool_(1),
    )
    reply = Reply(text=np.str_("No."), generation=tokens, truncated=np.False_)
    episodes = answer(acting(lambda requests: [reply] * len(requests)))
    own = Reply(text="No.", generation=generation())
    assert episodes == answer(acting(lambda requests: [own] * len(requests)))
    assert all(json.dumps(episode.to_json()) for episode in episodes)
    assert type(episodes[0].turns[-1].generation.prompt_ids[0]) is int


def test_an_environments_opponent_and_action_are_checked_too():
    env = redteam_env.single_seat(
        ATTACKER, opponent=acting(lambda requests: [None]), judge=JUDGE, thinking={}
    )
    env.reset(seed=np.int64(3), options={"seed": GAMES[0].seed})
    with pytest.raises(RedteamError, match="agent of defender_0 gave nothing"):
        env.step("How?")
    pair = redteam_env.raw_env(judge=JUDGE, thinking={})
    pair.reset(options={"seed": GAMES[0].seed})
    with pytest.raises(RedteamError, match=r"The action gave a Reply whose truncated is 'no'"):
        pair.step(Reply(text="How?", truncated="no"))


REQUEST = TurnRequest(seat=DEFENDER, role="defender", messages=(), path=(0,), game=(0,))


@pytest.mark.parametrize(
    ("odds", "came"),
    [
        (lambda requests, texts: None, "returned nothing"),
        (lambda requests, texts: [float("-inf")], "gave log-odds of which one is -inf"),
        (lambda requests, texts: [0.1, 0.2], "gave 2 numbers to 1 requests"),
        (lambda requests, texts: ["much"], "gave log-odds of which one is 'much'"),
    ],
)
def test_log_odds_are_finite_numbers_one_a_request(odds, came):
    agent = acting(_later, log_odds=lambda self, requests, texts: odds(requests, texts))
    both = Dispatcher(agents={"own": agent}, choose=lambda request: "own")
    with pytest.raises(RedteamError, match=rf"log_odds\(\) of the agent of defender_0 {came}"):
        both.log_odds([REQUEST], ["No."])


def test_log_odds_may_be_an_array():
    agent = acting(_later, log_odds=lambda self, requests, texts: np.float32([0.5]))
    both = Dispatcher(agents={"own": agent}, choose=lambda request: "own")
    assert both.log_odds([REQUEST], ["No."]) == [0.5]


def test_an_agent_that_is_not_ready_is_named():
    def ready(self):
        raise OSError("no route")

    redteam_env.register("agents", "own", lambda role: acting(_later, ready=ready))
    with pytest.raises(
        RedteamError, match=r"ready\(\) of the agent 'own' raised OSError: no route"
    ):
        AgentPool().agent("own", "defender")


def test_usage_is_plain_json():
    usage = Usage(requests=np.int64(2), cost=np.float32(0.5))
    redteam_env.register("agents", "own", lambda role: acting(_later, usage=usage))
    pool = AgentPool()
    pool.agent("own", "defender")
    (entry,) = json.loads(json.dumps(pool.usage()))
    assert (entry["requests"], entry["cost"]) == (2, 0.5)


@pytest.mark.parametrize("made", [None, object(), "refuse"], ids=["nothing", "object", "text"])
def test_a_factory_that_makes_no_agent_is_named(made):
    redteam_env.register("agents", "own", lambda role: made)
    with pytest.raises(RedteamError, match=r"agent 'own' is .*no method act\(\)"):
        resolve_agent("own", "attacker")


def test_a_factory_that_raises_is_named():
    redteam_env.register("agents", "own", lambda role: 1 / 0)
    with pytest.raises(
        RedteamError, match="agent 'own' cannot be made: ZeroDivisionError"
    ) as caught:
        resolve_agent("own", "attacker")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_factory_that_would_end_the_program_is_named():
    redteam_env.register("agents", "own", lambda role: sys.exit())
    with pytest.raises(RedteamError, match="agent 'own' cannot be made: SystemExit"):
        resolve_agent("own", "attacker")


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (Says, r"is the class Says; give an object of it, Says\("),
        (pd.Series([1, 2]), "no method act"),
    ],
    ids=["class", "several lines"],
)
def test_what_is_no_agent_is_one_line(made, match):
    with pytest.raises(RedteamError, match=match) as told:
        resolve_agent(made, "attacker")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rewritten", "no"), ("path", 3), ("group", 1.5), ("seed", "How?"), ("path", (0, 1.5))],
)
def test_games_that_a_caller_made_wrong_are_named_before_one_is_played(field, value):
    agent = Says()
    games = [*setups(1, rewrite_fraction=0), replace(GAMES[0], **{field: value})]
    with pytest.raises(RedteamError, match=rf"(?i)setups \(1 from 0\) gave .* {field}"):
        play(games, {ATTACKER: agent, DEFENDER: agent}, JUDGE)
    assert not agent.asked
