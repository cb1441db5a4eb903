import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_chat import said

from agents.chat_answer import read_chat_answer
from redteam_env.utils.http import Answer

SECRET = "words of a server"


def read(data):
    return read_chat_answer(Answer(data=data))


def test_an_answer_is_its_text_with_the_tokens_it_took():
    answer = read(said("Hello.", tokens=(12, 3)))
    assert (answer.text, answer.error, answer.cut, answer.tokens) == (
        "Hello.",
        None,
        False,
        (12, 3),
    )


def test_an_answer_at_the_token_limit_is_an_answer_and_marked():
    answer = read(said("Hello, my na", finish="length"))
    assert (answer.text, answer.error, answer.cut) == ("Hello, my na", None, True)


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_refusal_that_is_sent_apart_is_what_the_model_said(content):
    answer = read(said(content, refusal="I would rather not."))
    assert (answer.text, answer.error) == ("I would rather not.", None)


@pytest.mark.parametrize("finish", ["stop", "refusal"])
def test_so_is_one_that_is_a_part_of_the_content(finish):
    answer = read(said([{"type": "refusal", "refusal": "I would rather not."}], finish=finish))
    assert (answer.text, answer.error) == ("I would rather not.", None)


@pytest.mark.parametrize("reason", ["stop", "length", None, SECRET, ["stop"], 7])
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_no_text_is_a_failure_and_no_refusal(content, reason):
    answer = read(said(content, finish=reason))
    known = reason if reason in ("stop", "length") else "unknown"
    assert answer.error == f"no_text: an empty answer (finish reason: {known})"
    assert not answer.cut


@pytest.mark.parametrize("content", [None, "", "Half of"])
def test_a_content_filter_is_a_failure_of_the_server_and_not_the_models_answer(content):
    answer = read(said(content, finish="content_filter"))
    assert answer.error == "content_filter: stopped by the server's content filter"


def test_a_tool_call_without_text_is_a_failure_and_text_beside_it_an_answer():
    calls = [{"function": {"name": SECRET, "arguments": "{}"}}]
    finish = "tool_calls"
    assert (
        read(said(None, finish=finish, tool_calls=calls)).error
        == "no_text: a tool call instead of text"
    )
    assert read(said("Yes.", finish=finish, tool_calls=calls)).text == "Yes."


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        SECRET,
        {},
        {"error": {"message": SECRET}},
        {"choices": None},
        {"choices": {}},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"text": SECRET}]},
        {"choices": [{"message": SECRET}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": [SECRET]}]}}]},
        {"choices": [{"message": {"content": [3]}}]},
        {"choices": [{"message": {"content": 3}}]},
        {"choices": said(SECRET)["choices"] * 2},
    ],
)
def test_whatever_is_no_chat_answer_is_a_failure_whose_reason_quotes_nobody(data):
    answer = read(data)
    assert answer.text == ""
    assert answer.error
    assert SECRET not in answer.error


def test_the_reason_of_a_failed_request_is_kept():
    assert (
        read_chat_answer(Answer(error="timed out (5 attempts)")).error == "timed out (5 attempts)"
    )


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 3},
        {"prompt_tokens": "3", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": -3, "completion_tokens": 1},
        {"prompt_tokens": 3.5, "completion_tokens": 1},
    ],
)
def test_tokens_that_the_server_does_not_count_are_unknown(usage):
    assert read({**said("x"), "usage": usage}).tokens is None


def test_tokens_of_an_answer_that_is_of_no_use_are_counted_for_they_are_charged():
    assert read(said(None, tokens=(4, 0))).tokens == (4, 0)
    assert read({**said("x", tokens=(4, 2)), "choices": []}).tokens == (4, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "finish_reason", "refusal"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_either_text_or_a_failure(data):
    answer = read(json.loads(json.dumps(data)))
    assert isinstance(answer.text, str)
    assert answer.error or answer.text.strip()
