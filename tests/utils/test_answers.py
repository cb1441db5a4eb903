"""What servers answer, read with one closed list of causes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_chat import MODEL, ChatServer, said

from agents.endpoint import EndpointAgent
from redteam_env import TurnRequest
from redteam_env.utils.answers import Cause, cause_of, choice_of, text_of

SECRET = "words of a server"


def ask(*answers, retries=2):
    """Ask a server that answers so in turn: the reply, the usage, how often it was asked."""
    left = list(answers)
    with ChatServer(lambda body: left.pop(0) if len(left) > 1 else left[0]) as server:
        agent = EndpointAgent(url=server.url, model=MODEL, backoff=0.001, retries=retries)
        messages = ({"role": "user", "content": "hello"},)
        request = TurnRequest(seat="defender_0", role="defender", messages=messages, path=(1,))
        (reply,) = agent.act([request])
        return reply, agent.usage, len(server.requests)


def refusal(status, **error):
    return status, {"error": {"message": SECRET, **error}}


@pytest.mark.parametrize("code", [502, "502", "server_error", None])
def test_case_17_an_error_inside_a_200_body_is_tried_again_and_named(code):
    body = {"error": {"code": code, "message": SECRET}}
    reply, usage, asked = ask(body, said("fine"))
    assert (reply.text, reply.error, asked, usage.retries) == ("fine", None, 2, 1)
    reply, usage, asked = ask(body)
    assert reply.error == "server_error: an error in an answer with HTTP status 200 (3 attempts)"
    assert (asked, usage.requests, usage.failed, usage.retries) == (3, 1, 1, 2)


@pytest.mark.parametrize("reason", ["error", "timeout", "overloaded_error"])
def test_case_17_an_error_as_finish_reason_is_tried_again(reason):
    reply, _, asked = ask(said("half", finish=reason), said("fine"))
    assert (reply.text, reply.error, asked) == ("fine", None, 2)


def test_case_19_content_as_parts_is_their_text():
    parts = [{"type": "text", "text": "One "}, {"type": "text", "text": "two."}]
    reply, _, _ = ask(said(parts))
    assert (reply.text, reply.error) == ("One two.", None)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ({"code": "content_filter"}, "content_filter"),
        ({"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "content_filter"),
        ({"code": "context_length_exceeded"}, "too_long"),
        ({"type": "BadRequestError", "message": "maximum context length is 8"}, "too_long"),
        ({"code": "unsupported_parameter", "param": "seed"}, "refused_field"),
        ({"code": None}, "refused"),
    ],
)
def test_case_21_refusals_with_status_400_are_told_apart_and_final(error, cause):
    reply, usage, asked = ask(refusal(400, **error))
    assert reply.error == f"{cause}: HTTP status 400"
    assert (asked, usage.retries) == (1, 0)


def test_case_23_a_quota_that_is_used_up_is_final_at_once_and_a_rate_limit_is_not():
    reply, _, asked = ask(refusal(429, code="insufficient_quota"))
    assert reply.error == "quota: HTTP status 429: the account's quota is used up"
    assert asked == 1
    reply, _, asked = ask(refusal(429, code="rate_limit_exceeded"), said("fine"))
    assert (reply.text, asked) == ("fine", 2)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, said("x"), None),
        (200, {"error": None, "choices": []}, None),
        (200, {"object": "error", "message": SECRET, "code": 400}, Cause.REFUSED),
        (200, {"type": "error", "error": {"type": "overloaded_error"}}, Cause.SERVER_ERROR),
        (200, {"error": {"code": 429}}, Cause.RATE_LIMIT),
        (200, {"choices": [{"error": {"code": 502}}]}, Cause.SERVER_ERROR),
        (400, None, Cause.REFUSED),
        (400, {"detail": [{"type": "extra_forbidden"}]}, Cause.REFUSED_FIELD),
        (402, None, Cause.QUOTA),
        (403, {"error": {"code": "content_policy_violation"}}, Cause.CONTENT_FILTER),
        (400, {"code": "data_inspection_failed", "message": SECRET}, Cause.CONTENT_FILTER),
        (408, None, Cause.TIMED_OUT),
        (409, None, Cause.SERVER_ERROR),
        (413, None, Cause.TOO_LONG),
        (429, [{"error": {"status": "RESOURCE_EXHAUSTED"}}], Cause.RATE_LIMIT),
        (429, {"error": "insufficient balance"}, Cause.QUOTA),
        (429, {"error": "You exceeded your current quota, see billing."}, Cause.QUOTA),
        (503, {"error": {"message": "context length"}}, Cause.SERVER_ERROR),
        (302, None, Cause.REDIRECT),
    ],
)
def test_status_and_body_have_one_cause(status, body, cause):
    assert cause_of(status, body) is cause


def test_several_choices_and_filtered_ones_are_reasons():
    assert choice_of({"choices": said("a")["choices"] * 2}) == (
        "several_choices: 2 choices instead of 1"
    )
    for reason in ("content_filter", "SAFETY", "BLOCKLIST", "refusal"):
        assert str(choice_of(said("a", finish=reason))).startswith("content_filter: ")


def test_parts_that_are_no_text_are_left_out():
    assert text_of([{"type": "image_url"}, {"type": "text", "text": "a"}]) == "a"
    assert text_of({"text": "a"}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "choices", "message", "finish_reason", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), JSON)
def test_any_answer_has_a_cause_or_a_choice_or_a_reason_of_ours(status, body):
    cause = cause_of(status, body)
    assert cause is None or cause in Cause
    reason = choice_of(body)
    assert not isinstance(reason, str) or reason.partition(":")[0] in set(Cause)
