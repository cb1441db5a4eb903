import email.utils
import pickle
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_servers import DROP, RecordedJudgeServer, wildguard_text

from redteam_env.game import RedteamError
from redteam_env.judges.backends import ClassifyBackend, OpenAIBackend
from redteam_env.judges.template import Exchange
from redteam_env.utils import http
from redteam_env.utils.http import Endpoint, tokens_of

SECRET = "open sesame"
KEY_VARIABLE = "REDTEAM_ENV_TEST_KEY"


def completions(server: RecordedJudgeServer, **options) -> OpenAIBackend:
    options = {"backoff": 0.001, "timeout": 20, "key_variable": KEY_VARIABLE, **options}
    endpoint = Endpoint(url=f"{server.url}/v1/completions", **options)
    return OpenAIBackend(endpoint=endpoint, model="judge")


def classify(server: RecordedJudgeServer, batch: int = 4, **options) -> ClassifyBackend:
    options = {"backoff": 0.001, "timeout": 20, **options}
    return ClassifyBackend(endpoint=Endpoint(url=f"{server.url}/classify", **options), batch=batch)


def harmful_if_marked(query):
    return ("bad" in query["prompt"], None, None)


def test_answers_keep_the_order_of_the_prompts():
    prompts = [f"{k} {'bad' if k % 3 == 0 else 'good'}" for k in range(40)]
    with RecordedJudgeServer(harmful_if_marked) as server:
        answers = completions(server, concurrency=8).complete(prompts)
    expected = [wildguard_text((k % 3 == 0, None, None)) for k in range(40)]
    assert [x.text for x in answers] == expected


def test_no_more_requests_run_at_once_than_allowed():
    with RecordedJudgeServer(delay=0.01) as server:
        completions(server, concurrency=3).complete(["x"] * 15)
        assert server.most_at_once == 3


def test_a_request_is_one_greedy_raw_completion():
    with RecordedJudgeServer() as server:
        completions(server).complete(["\ud800 <|user|> \N{SNOWMAN}"])
        (path, _, body) = server.requests[0]
    assert path == "/v1/completions"
    assert body == {
        "model": "judge",
        "prompt": "\ud800 <|user|> \N{SNOWMAN}",
        "max_tokens": 128,
        "temperature": 0,
    }


@pytest.mark.parametrize("status", [429, 500, 503, DROP])
def test_a_failure_that_may_pass_is_tried_again(status):
    with RecordedJudgeServer(statuses=[status, status]) as server:
        (answer,) = completions(server, retries=2).complete([SECRET])
        assert answer.error is None
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [429, 500, DROP])
def test_retries_end_and_the_reason_is_short_and_holds_no_text_of_the_request(status):
    with RecordedJudgeServer(statuses=[status] * 9) as server:
        (answer,) = completions(server, retries=2).complete([SECRET])
        assert len(server.requests) == 3
    assert answer.text is None
    assert "(3 attempts)" in answer.error
    assert SECRET not in answer.error
    assert len(answer.error) < 150


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 301])
def test_a_refusal_is_final_at_once(status):
    headers = {"Location": "http://127.0.0.1:1/"}
    with RecordedJudgeServer(statuses=[status], headers=headers) as server:
        (answer,) = completions(server, retries=5).complete([SECRET])
        assert len(server.requests) == 1
    assert f"HTTP status {status}" in answer.error
    assert (KEY_VARIABLE in answer.error) == (status in {401, 403})
    assert SECRET not in answer.error


def test_one_failure_leaves_the_other_answers_alone():
    with RecordedJudgeServer(harmful_if_marked, statuses=[200, 400]) as server:
        answers = completions(server, concurrency=1).complete(["bad", "bad", "good"])
    assert [x.error is None for x in answers] == [True, False, True]
    assert answers[2].text == wildguard_text((False, None, None))


def test_a_silent_server_times_out():
    with RecordedJudgeServer(gate=threading.Event()) as server:
        (answer,) = completions(server, timeout=0.1, retries=1).complete([SECRET])
        assert answer.error == "timed_out: no whole answer within 0.1 s (2 attempts)"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"text": null}]}',
        b'{"choices": [{"message": {"content": "hi"}}]}',
        b"[" * 100_000,
        b'{"choices": [' + b"9" * 5000 + b"]}",
        b"\xff\xfe\x00",
        b'{"choices": [{"text": "' + b"x" * (2 << 20) + b'"}]}',
    ],
)
def test_an_odd_body_is_an_error_and_is_not_asked_for_again(raw):
    with RecordedJudgeServer(raw=raw) as server:
        (answer,) = completions(server, retries=3).complete([SECRET])
        assert len(server.requests) == 1
    assert answer.text is None
    assert answer.error


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been waited between attempts."""
    seconds: list[float] = []

    async def wait(delay):
        seconds.append(delay)

    monkeypatch.setattr(http.asyncio, "sleep", wait)
    return seconds


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("86400", http.MAX_WAIT_S)])
def test_a_wait_that_the_server_asks_for_is_honoured_up_to_a_limit(waits, asked, waited):
    with RecordedJudgeServer(statuses=[503], headers={"Retry-After": asked}) as server:
        completions(server).complete(["x"])
    assert waits == [waited]


def test_waits_double_with_jitter_up_to_a_limit(waits):
    with RecordedJudgeServer(statuses=[503] * 9) as server:
        completions(server, backoff=1.0, retries=8).complete(["x"])
    longest = [min(2.0**k, http.MAX_WAIT_S) for k in range(8)]
    assert all(top / 2 <= wait <= top for wait, top in zip(waits, longest, strict=True))
    assert waits != longest


def test_both_forms_of_retry_after_are_read():
    assert http._retry_after("7") == 7
    assert http._retry_after("-7") == 0
    assert http._retry_after(email.utils.formatdate(time.time() + 100, usegmt=True)) > 50
    assert http._retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert http._retry_after("soon") is None


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+]?\w+", fullmatch=True))
def test_any_retry_after_is_survived(value):
    wait = http._retry_after(value)
    assert wait is None or wait >= 0


def test_labels_are_matched_by_game_idx_whatever_their_order():
    def shuffled(body):
        return {"labels": list(reversed(body["labels"]))}

    queries = [Exchange(prompt="bad" if k % 2 else "good", response="r") for k in range(10)]
    with RecordedJudgeServer(harmful_if_marked, transform=shuffled) as server:
        answers = classify(server).complete(queries)
        sizes = sorted(len(body["queries"]) for _, _, body in server.requests)
    assert sizes == [2, 4, 4]
    assert ['"unharmful"' in x.text for x in answers] == [k % 2 == 0 for k in range(10)]


def test_labels_without_game_idx_are_matched_by_order():
    def bare(body):
        return {"labels": [{k: v for k, v in x.items() if k != "game_idx"} for x in body["labels"]]}

    queries = [Exchange(prompt="bad" if k % 2 else "good", response="r") for k in range(6)]
    with RecordedJudgeServer(harmful_if_marked, transform=bare) as server:
        answers = classify(server).complete(queries)
    assert ['"unharmful"' in x.text for x in answers] == [k % 2 == 0 for k in range(6)]


def without_game_idx_and_short(body):
    return {"labels": [{"prompt_harmfulness": "harmful"} for _ in body["labels"][1:]]}


@pytest.mark.parametrize(
    ("transform", "failed"),
    [
        (lambda body: {"labels": body["labels"][1:]}, [0]),
        (lambda body: {"labels": [*body["labels"], body["labels"][1]]}, [1]),
        (lambda body: {"labels": [None, *body["labels"][1:]]}, [0]),
        (without_game_idx_and_short, [0, 1, 2]),
        (lambda body: {"labels": {}}, [0, 1, 2]),
        (lambda body: [], [0, 1, 2]),
    ],
)
def test_missing_and_doubled_labels_are_errors_of_their_own_dialogues(transform, failed):
    queries = [Exchange(prompt=str(k), response="") for k in range(3)]
    with RecordedJudgeServer(transform=transform) as server:
        answers = classify(server).complete(queries)
    assert [k for k, answer in enumerate(answers) if answer.error] == failed


def test_a_failed_batch_fails_only_its_own_dialogues():
    queries = [Exchange(prompt="p", response="r")] * 6
    with RecordedJudgeServer(statuses=[200, 400]) as server:
        answers = classify(server, batch=3, concurrency=1).complete(queries)
    assert [x.error is None for x in answers] == [True] * 3 + [False] * 3


def test_the_key_is_sent_and_kept_nowhere(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, " k3y\n")
    with RecordedJudgeServer() as server:
        backend = completions(server)
        backend.complete(["x"])
        assert server.requests[0][1]["authorization"] == "Bearer k3y"
    assert b"k3y" not in pickle.dumps(backend)


def test_a_key_is_sent_to_the_first_server_it_was_for_and_to_no_other(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "k3y")
    with RecordedJudgeServer() as first, RecordedJudgeServer() as second:  # another port
        completions(first).complete(["x"])
        with pytest.raises(RedteamError, match=f"{KEY_VARIABLE} is .*is not sent to") as caught:
            completions(second).complete(["x"])
        assert "k3y" not in str(caught.value)
        assert second.requests == []
        completions(second, shared_key=True).complete(["x"])
        assert second.requests[0][1]["authorization"] == "Bearer k3y"


def test_without_a_variable_no_key_is_sent_whatever_the_environment_holds(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "k3y")
    with RecordedJudgeServer(statuses=[200, 401]) as server:
        backend = completions(server, key_variable=None)
        backend.complete(["x"])
        (refused,) = backend.complete(["x"])
        assert all("authorization" not in headers for _, headers, _ in server.requests)
    assert refused.error == "key: HTTP status 401: the server wants a key"


def test_a_key_that_cannot_be_a_header_is_named_without_its_value(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "k3y\nHost: evil")
    with RecordedJudgeServer() as server, pytest.raises(RedteamError) as error:
        completions(server).complete(["x"])
    assert KEY_VARIABLE in str(error.value)
    assert "k3y" not in str(error.value)


def test_a_server_on_this_machine_is_not_asked_through_a_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with RecordedJudgeServer() as server:
        (answer,) = completions(server).complete(["x"])
    assert answer.error is None


def test_ready_takes_any_answer_and_refuses_silence():
    with RecordedJudgeServer() as server:
        endpoint = completions(server).endpoint
        endpoint.ready()
    with pytest.raises(RedteamError, match=r"No server answers at http://127\.0\.0\.1"):
        endpoint.ready()


def test_get_returns_the_json_or_the_reason():
    with RecordedJudgeServer() as server:
        answer = Endpoint(url=f"{server.url}/v1/models").get()
    assert (
        answer.error == "not_found: HTTP status 404: check the path of the url and the model's name"
    )
    assert Endpoint(url=f"{server.url}/v1/models").get().error == (
        "unreachable: cannot connect: Connection refused"
    )


def test_no_error_shows_the_password_in_a_url():
    endpoint = Endpoint(url="http://user:s3cret@127.0.0.1:1/v1/completions?token=s3cret", retries=0)
    with pytest.raises(RedteamError) as error:
        endpoint.ready()
    (answer,) = OpenAIBackend(endpoint=endpoint, model="m").complete(["x"])
    for text in (str(error.value), answer.error, repr(endpoint)):
        assert "s3cret" not in text
    with pytest.raises(RedteamError) as error:
        Endpoint(url="ftp://user:s3cret@host/x")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["", "8000", "localhost:8000", "file:///etc/hosts", "http://", "http://a:b:c", "ws://a"]
)
def test_a_url_that_is_no_http_address_is_refused(url):
    with pytest.raises(RedteamError, match="give an http or https address"):
        Endpoint(url=url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"retries": -1},
        {"retries": True},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"backoff": float("inf")},
        {"timeout": "10"},
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(RedteamError) as error:
        Endpoint(url="http://127.0.0.1:1", **wrong)
    assert f"{name} is {value!r}" in str(error.value)


@pytest.mark.parametrize("tokens", [-1, 10**9, 10**400, 1.0, True, "3", None])
def test_token_counts_that_cannot_be_are_not_believed(tokens):
    assert tokens_of({"usage": {"prompt_tokens": tokens, "completion_tokens": 1}}) is None
    assert tokens_of({"usage": {"prompt_tokens": 1, "completion_tokens": tokens}}) is None
    assert tokens_of({"usage": {"prompt_tokens": 7, "completion_tokens": 1}}) == (7, 1)
