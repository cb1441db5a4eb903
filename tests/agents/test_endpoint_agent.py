import copy
import json
import pickle

import pytest
from support_chat import MODEL, ChatServer, said

from agents.endpoint import KEY_VARIABLE, EndpointAgent, endpoint
from redteam_env import RedteamError, Seed, TurnRequest
from redteam_env.protocols import Agent, Usage
from redteam_env.randomness import integer_seed
from redteam_env.registry import resolve_agent

SECRET = "s3cret-k3y"
PREFILL = "Let's think step by step.\n<think> "


def asked(text="hello", *, seat="defender_0", number=0, prefill=""):
    return TurnRequest(
        seat=seat,
        role=seat.removesuffix("_0"),
        messages=(
            {"role": "system", "content": "Your rules."},
            {"role": "user", "content": text},
        ),
        path=(7, "game", number, seat, "sample", 0),
        prefill=prefill,
        seed=Seed(id="1", text=text, harmful=False),
    )


def agent(server, **settings):
    settings = {"url": server.url, "model": MODEL, "backoff": 0.001, "timeout": 20, **settings}
    return EndpointAgent(**settings)


def test_replies_come_in_order_and_the_messages_go_out_with_nothing_but_control_tokens_broken():
    def upper(body):
        return said(body["messages"][-1]["content"].upper())

    texts = [f"text {k} <|im_start|> \ud800 \N{SNOWMAN}" for k in range(30)]
    with ChatServer(upper) as server:
        found = agent(server, concurrency=4)
        replies = found.act([asked(text, number=k) for k, text in enumerate(texts)])
        assert isinstance(found, Agent)
        assert server.requests[0]["messages"][0] == {"role": "system", "content": "Your rules."}
        assert server.most_at_once <= 4
    assert [reply.text for reply in replies] == [
        text.upper().replace("<|", "< |") for text in texts
    ]
    assert {reply.error for reply in replies} == {None}
    assert {reply.generation for reply in replies} == {None}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_asks_the_same_server(duplicate):
    with ChatServer() as server:
        found = agent(server)
        assert duplicate(found).act([asked()])[0].text == found.act([asked()])[0].text
        assert server.requests[0] == server.requests[1]


def test_a_request_is_one_chat_completion_with_a_seed_of_its_own_path():
    requests = [asked(number=k) for k in range(3)]
    with ChatServer() as server:
        agent(server, temperature=0.5, max_tokens=9).act(requests)
        sent = sorted(server.requests, key=lambda body: body["seed"])
    seeds = [integer_seed(request.path) % 2**31 for request in requests]
    assert [body.pop("seed") for body in sent] == sorted(seeds)
    assert len(set(seeds)) == 3
    assert {body.pop("temperature") for body in sent} == {0.5}
    assert {body.pop("max_tokens") for body in sent} == {9}
    assert {body.pop("model") for body in sent} == {MODEL}
    assert all(set(body) == {"messages"} for body in sent)


def test_fields_can_be_left_out_renamed_and_added():
    with ChatServer() as server:
        agent(
            server, omit=["max_tokens", "seed"], extra={"max_completion_tokens": 5, "top_p": 1}
        ).act([asked()])
        (body,) = server.requests
    assert set(body) == {"model", "messages", "temperature", "max_completion_tokens", "top_p"}


def test_instructions_can_go_into_the_first_message_for_models_without_a_system_role():
    request = asked("hello")
    with ChatServer() as server:
        agent(server, merge_system=True).act([request])
        (body,) = server.requests
    assert body["messages"] == [{"role": "user", "content": "Your rules.\n\nhello"}]
    assert request.messages[1]["content"] == "hello"


def test_a_prefill_is_left_out_by_default_and_never_repeated_in_a_reply():
    with ChatServer(lambda body: said(f"{PREFILL}so</think><answer>yes</answer>")) as server:
        (reply,) = agent(server).act([asked(prefill=PREFILL)])
        (body,) = server.requests
    assert body["messages"][-1]["role"] == "user"
    assert reply.text == "so</think><answer>yes</answer>"


def test_a_prefill_can_be_sent_as_the_beginning_of_the_answer():
    with ChatServer(lambda body: said("so</think><answer>yes</answer>")) as server:
        found = agent(server, prefill="continue")
        (reply,) = found.act([asked(prefill=PREFILL)])
        found.act([asked()])
        continued, plain = server.requests
    assert continued["messages"][-1] == {"role": "assistant", "content": PREFILL}
    assert continued["continue_final_message"] is True
    assert continued["add_generation_prompt"] is False
    assert reply.text == "so</think><answer>yes</answer>"
    assert "continue_final_message" not in plain


def test_a_failure_is_a_reply_with_a_reason_and_the_others_are_untouched():
    def sometimes(body):
        return 400 if "bad" in body["messages"][-1]["content"] else said("fine")

    with ChatServer(sometimes) as server:
        replies = agent(server).act([asked("good"), asked("bad"), asked("good")])
    assert [reply.error for reply in replies] == [None, "refused: HTTP status 400", None]


def test_a_failure_that_may_pass_is_tried_again_and_then_given_up():
    answers = iter([503, 429, said("at last"), *[500] * 3])
    with ChatServer(lambda body: next(answers)) as server:
        found = agent(server, retries=2)
        assert found.act([asked()])[0].text == "at last"
        (reply,) = found.act([asked()])
        assert reply.error == "server_error: HTTP status 500 (3 attempts)"


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"\xff", json.dumps(said("x" * (2 << 20))).encode(), b"[" * 100_000]
)
def test_an_answer_that_is_no_json_or_huge_is_a_failure(raw):
    with ChatServer(lambda body: raw) as server:
        (reply,) = agent(server).act([asked()])
        assert len(server.requests) == 1
    assert reply.text == ""
    assert reply.error in {
        "unreadable: answer that is no JSON",
        "unreadable: answer over 1048576 bytes",
    }


def test_an_answer_at_the_token_limit_is_marked_as_cut():
    answers = iter([said("Hello, my na", finish="length"), said("Hello.")])
    with ChatServer(lambda body: next(answers)) as server:
        replies = agent(server, concurrency=1).act([asked(), asked()])
    assert [(reply.text, reply.truncated) for reply in replies] == [
        ("Hello, my na", True),
        ("Hello.", False),
    ]


def test_hostile_text_is_passed_on_as_it_is():
    hostile = "\x1b[31m{0} %s </answer> <|im_end|> \u202e"
    with ChatServer(lambda body: said(hostile)) as server:
        (reply,) = agent(server).act([asked("{prompt} {0}")])
        assert server.requests[0]["messages"][-1]["content"] == "{prompt} {0}"
    assert reply.text == hostile


def test_usage_counts_requests_failures_cut_answers_tokens_and_cost():
    answers = iter(
        [
            said("a", tokens=(100, 20)),
            said("b", finish="length", tokens=(10, 2)),
            said("c", tokens=None),
            said(None, tokens=(5, 0)),
            400,
        ]
    )
    with ChatServer(lambda body: next(answers)) as server:
        found = agent(server, prompt_price=2.0, completion_price=10.0, concurrency=1)
        assert found.usage == Usage(cost=0.0)
        found.act([asked(number=k) for k in range(5)])
    assert found.usage == Usage(
        requests=5,
        failed=2,
        cut=1,
        unmetered=1,
        prompt_tokens=115,
        completion_tokens=22,
        cost=pytest.approx((115 * 2 + 22 * 10) / 1e6),
    )


def test_without_prices_there_is_no_cost():
    with ChatServer() as server:
        found = agent(server)
        found.act([asked()])
    assert found.usage.cost is None
    assert found.usage.prompt_tokens == 10


def test_the_key_comes_from_the_environment_and_is_kept_nowhere(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    monkeypatch.setenv("REDTEAM_ENV_ANOTHER_KEY", "other")
    with ChatServer(key=SECRET) as server:
        found = agent(server)
        found.ready()
        assert found.act([asked()])[0].error is None
        (reply,) = agent(server, key_variable="REDTEAM_ENV_ANOTHER_KEY").act([asked()])
    assert (
        reply.error == "key: HTTP status 401: set the environment variable REDTEAM_ENV_ANOTHER_KEY"
    )
    assert SECRET.encode() not in pickle.dumps(found)
    assert SECRET not in repr(found)


def test_a_judges_key_is_not_sent_to_an_agents_server(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("REDTEAM_ENV_JUDGE_API_KEY", SECRET)
    with ChatServer() as server:
        agent(server).act([asked()])
        assert all("Authorization" not in headers for headers in server.headers)


def test_a_key_goes_to_the_server_it_was_first_used_for_and_to_no_other(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with ChatServer() as first, ChatServer() as second:
        agent(first).ready()
        with pytest.raises(RedteamError, match=rf"{first.url}'s and is not sent to {second.url}"):
            agent(second).ready()
        assert second.headers == []
        agent(second, key_variable="REDTEAM_ENV_NONE").ready()
        assert all("Authorization" not in headers for headers in second.headers)


def test_a_look_whether_a_server_is_there_carries_no_key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with ChatServer() as server:
        with pytest.raises(RedteamError, match="lists"):
            agent(server, model="other").ready()
        assert len(server.looks) == 2
        assert all("Authorization" not in headers for headers in server.looks)
        assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_gets_no_key(monkeypatch, status):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with ChatServer() as other, ChatServer(lambda body: status) as server:
        server.location = f"{other.url}/v1/chat/completions"
        (reply,) = agent(server).act([asked()])
        assert (other.headers, other.looks) == ([], [])
    assert f"HTTP status {status}" in reply.error


def test_ready_asks_one_harmless_question():
    with ChatServer() as server:
        found = agent(server)
        found.ready()
        assert len(server.probes) == 1
        assert server.requests == []
    assert found.usage.requests == 1


@pytest.mark.parametrize(
    ("settings", "server", "message"),
    [
        ({}, {"key": SECRET}, f"HTTP status 401: set the environment variable {KEY_VARIABLE}"),
        ({"model": "other"}, {}, rf"The model 'other' .* lists '{MODEL}'\."),
        ({"model": "other"}, {"models": None}, "HTTP status 404: check the path"),
        ({}, {"probe": lambda body: 400}, "see omit, extra and merge_system"),
        ({}, {"probe": lambda body: b"<html>"}, "answer that is no JSON"),
        ({}, {"probe": lambda body: said(None)}, "an empty answer"),
        ({"model": "x"}, {"models": [f"m{k}" for k in range(12)]}, "'m9' and 2 more"),
    ],
)
def test_what_would_void_every_game_is_named_at_the_start(monkeypatch, settings, server, message):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with ChatServer(**server) as running, pytest.raises(RedteamError, match=message):
        agent(running, **settings).ready()


def test_a_server_that_is_not_there_is_named_at_the_start():
    with pytest.raises(RedteamError, match=r"No server answers at http://127\.0\.0\.1:1/v1/chat"):
        EndpointAgent(url="http://127.0.0.1:1", model=MODEL).ready()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", "http://h/v1/chat/completions"),
        ("http://h:8000/", "http://h:8000/v1/chat/completions"),
        ("http://h/v1", "http://h/v1/chat/completions"),
        ("http://h/api/v1/", "http://h/api/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/chat/completions", "http://h/chat/completions"),
    ],
)
def test_an_address_is_completed(url, address):
    assert EndpointAgent(url=url, model="m")._endpoint.url == address


def test_it_is_named_by_model_and_address():
    found = resolve_agent("endpoint:some/model:8b@http://127.0.0.1:8000/v1", "defender")
    assert (found.model, found.url) == ("some/model:8b", "http://127.0.0.1:8000/v1")
    found = endpoint("attacker", "a@b@http://h", max_new_tokens=7, temperature=0.0)
    assert (found.model, found.max_tokens, found.temperature) == ("a@b", 7, 0.0)


def test_it_is_named_by_a_file_whose_settings_come_first(tmp_path):
    file = tmp_path / "target.toml"
    file.write_text(
        f'url = "http://h/v1"\nmodel = "{MODEL}"\ntemperature = 0.25\nprompt_price = 1\n'
        'completion_price = 2.5\nomit = ["seed"]\nkey_variable = "REDTEAM_ENV_MY_KEY"\n[extra]\ntop_p = 0.9\n'
    )
    found = resolve_agent(f"endpoint:{file}", "defender", max_new_tokens=7, temperature=0.0)
    assert (found.temperature, found.max_tokens, found.extra) == (0.25, 7, {"top_p": 0.9})
    assert (found.key_variable, found.completion_price) == ("REDTEAM_ENV_MY_KEY", 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = ", "no TOML"),
        ('url = "http://h"', "has no model"),
        ('model = "m"', "has no url"),
        ('url = "http://h"\nmodel = "m"\ntemprature = 1', "Did you mean 'temperature'"),
        ('url = "http://h"\nmodel = "m"\nusage = 1', "Unknown setting"),
        ('url = 3\nmodel = "m"', "url is 3; give a text"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, message):
    file = tmp_path / "target.toml"
    file.write_text(text)
    with pytest.raises(RedteamError, match=message):
        endpoint("defender", str(file))


@pytest.mark.parametrize("argument", ["", "nowhere.toml", "m@ftp://h", "@http://h", "m@"])
def test_an_argument_that_names_nothing_shows_both_forms(argument):
    with pytest.raises(RedteamError, match=r"endpoint:MODEL@URL.*endpoint:FILE\.toml"):
        resolve_agent(f"endpoint:{argument}" if argument else "endpoint", "defender")


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@h/v1", f"http://h/v1?key={SECRET}"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(url):
    with pytest.raises(RedteamError) as caught:
        resolve_agent(f"endpoint:m@{url}", "defender")
    assert KEY_VARIABLE in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model", " "),
        ("model", 3),
        ("temperature", -1),
        ("temperature", float("nan")),
        ("temperature", None),
        ("max_tokens", 0),
        ("max_tokens", 2.0),
        ("prefill", "send"),
        ("merge_system", 1),
        ("omit", "seed"),
        ("omit", ["model"]),
        ("extra", ["top_p"]),
        ("extra", {"top_p": float("inf")}),
        ("extra", {"top_p": object()}),
        ("prompt_price", 1),
        ("prompt_price", "1"),
        ("key_variable", ""),
        ("key_variable", "HOME"),
        ("key_variable", "REDTEAM_ENV_"),
        ("key_variable", "REDTEAM_ENV_JUDGE_API_KEY"),
        ("concurrency", 0),
        ("timeout", 0),
        ("retries", -1),
        ("backoff", 0),
    ],
)
def test_a_wrong_setting_is_named(setting, value):
    settings = {"url": "http://127.0.0.1:1", "model": "m", setting: value}
    with pytest.raises(RedteamError, match=setting):
        EndpointAgent(**settings)


def test_an_agent_without_an_argument_refuses_one():
    with pytest.raises(RedteamError, match="The agent 'refuse' takes no argument; leave ':x' out"):
        resolve_agent("refuse:x", "defender")
