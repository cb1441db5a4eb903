"""What a server's answer means: one reader of status, body and finish reason, with a closed list of causes.

Servers say the same in many ways: a refusal is a status, an error inside a body with status 200, or the
reason for which an answer ended. :func:`cause_of` reads all three. Only the causes leave this module; no
word of a server is printed, logged or stored, because it may hold a prompt or a key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """Why there is no answer; the first word of the reason for which a game is void."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    QUOTA = "quota"
    CONTENT_FILTER = "content_filter"
    TOO_LONG = "too_long"
    REFUSED_FIELD = "refused_field"
    REFUSED = "refused"
    KEY = "key"
    NOT_FOUND = "not_found"
    REDIRECT = "redirect"
    UNREADABLE = "unreadable"
    SEVERAL_CHOICES = "several_choices"
    NO_TEXT = "no_text"
    CANCELLED = "cancelled"


PASSING = frozenset({Cause.UNREACHABLE, Cause.TIMED_OUT, Cause.RATE_LIMIT, Cause.SERVER_ERROR})
"""Causes that may be gone at the next attempt; the others are final at once."""

_REFUSAL = "refusal"
_CODES: Mapping[str, Cause] = {
    **dict.fromkeys(
        (
            "content_filter",
            "content_filtered",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "moderation_blocked",
            "content_blocked",
            "safety",
            "sensitive",
            "prohibited_content",
            "blocklist",
            "recitation",
            "spii",
            _REFUSAL,
        ),
        Cause.CONTENT_FILTER,
    ),
    **dict.fromkeys(
        (
            "context_length_exceeded",
            "context_window_exceeded",
            "model_context_window_exceeded",
            "string_above_max_length",
            "request_too_large",
            "input_too_long",
        ),
        Cause.TOO_LONG,
    ),
    **dict.fromkeys(
        (
            "insufficient_quota",
            "quota_exceeded",
            "insufficient_balance",
            "insufficient_credits",
            "billing_hard_limit_reached",
            "billing_not_active",
            "billing_error",
            "arrearage",
        ),
        Cause.QUOTA,
    ),
    **dict.fromkeys(
        (
            "unsupported_parameter",
            "unsupported_value",
            "unknown_parameter",
            "invalid_parameter",
            "extra_forbidden",
        ),
        Cause.REFUSED_FIELD,
    ),
    **dict.fromkeys(
        ("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"),
        Cause.RATE_LIMIT,
    ),
    **dict.fromkeys(
        ("invalid_api_key", "authentication_error", "permission_error", "unauthenticated"),
        Cause.KEY,
    ),
    **dict.fromkeys(("model_not_found", "not_found_error"), Cause.NOT_FOUND),
    **dict.fromkeys(
        (
            "server_error",
            "internal_server_error",
            "api_error",
            "overloaded_error",
            "service_unavailable",
            "unavailable",
            "bad_gateway",
            "error",
            "abort",
            "network_error",
            "insufficient_system_resource",
        ),
        Cause.SERVER_ERROR,
    ),
    "timeout": Cause.TIMED_OUT,
    "timeout_error": Cause.TIMED_OUT,
}
"""What servers call it, in lower case, as an error's code, type or status, or as a finish reason."""

_STATUSES: Mapping[int, Cause] = {
    401: Cause.KEY,
    402: Cause.QUOTA,
    403: Cause.KEY,
    404: Cause.NOT_FOUND,
    405: Cause.NOT_FOUND,
    408: Cause.TIMED_OUT,
    409: Cause.SERVER_ERROR,
    413: Cause.TOO_LONG,
    422: Cause.REFUSED_FIELD,
    425: Cause.SERVER_ERROR,
    429: Cause.RATE_LIMIT,
}
_VAGUE = frozenset({Cause.RATE_LIMIT, Cause.REFUSED, Cause.REFUSED_FIELD})
"""Causes of a status or code that a message may say more about."""
_SAID: Sequence[tuple[re.Pattern[str], Cause]] = tuple(
    (re.compile(pattern), cause)
    for pattern, cause in (
        (
            r"insufficient[ _](quota|balance|credits?|funds)|credit balance|exceeded your current quota",
            Cause.QUOTA,
        ),
        (
            (
                r"context (length|window)|max_model_len|(prompt|input|request) is too (long|large)"
                r"|too many (input )?tokens"
            ),
            Cause.TOO_LONG,
        ),
        (r"content (management |usage )?(policy|filter)|flagged", Cause.CONTENT_FILTER),
        (
            (
                r"(unsupported|unknown|unrecognized|unexpected) (request )?(parameter|field|value|argument)"
                r"|extra inputs are not permitted"
            ),
            Cause.REFUSED_FIELD,
        ),
    )
)
"""What only a message tells: servers such as vLLM give no code."""
_MOST_SAID = 2000
CUT = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
"""Finish reasons of an answer that a limit on tokens ended."""


def cause_of(status: int, body: Any) -> Cause | None:
    """Return why a server's answer is none.

    Args:
        status: The HTTP status.
        body: The JSON that came with it, ``None`` if it was none.

    Returns:
        The cause; ``None`` for an answer that can be read.
    """
    errors = list(_errors(body))
    good = 200 <= status < 300
    if good and not errors:
        return _ended(body)
    words = [x for error in errors for x in _words(error)]
    for word in words:
        if (cause := _CODES.get(word)) is not None and cause not in _VAGUE:
            return cause
    vague = next((_CODES[word] for word in words if word in _CODES), None)
    numbers = [int(word) for word in words if word.isdecimal() and len(word) == 3]
    known = vague or _of_status(numbers[0] if good and numbers else 500 if good else status)
    if known in _VAGUE and status < 500:
        told = " ".join(x for error in errors for x in _messages(error)).lower()[:_MOST_SAID]
        quota = (
            "resource_exhausted" not in words
        )  # whose message speaks of billing at any rate limit
        for pattern, cause in _SAID:
            if pattern.search(told) and (quota or cause is not Cause.QUOTA):
                return cause
        if known is Cause.REFUSED and any(_has_parameter(error) for error in errors):
            return Cause.REFUSED_FIELD
    return known


def _of_status(status: int) -> Cause:
    if status >= 500:
        return Cause.SERVER_ERROR
    if 300 <= status < 400:
        return Cause.REDIRECT
    return _STATUSES.get(status, Cause.REFUSED)


def _errors(body: Any) -> Iterator[Any]:
    """Return every error that a body holds: objects, or texts."""
    if isinstance(body, list):
        body = body[0] if len(body) == 1 else None
    if not isinstance(body, dict):
        return
    told = "code" in body and isinstance(body.get("message"), str) and "choices" not in body
    if body.get("object") == "error" or body.get("type") == "error" or told:
        yield {name: x for name, x in body.items() if name not in {"object", "error"}}
    for name in ("error", "errors", "detail"):
        found = body.get(name)
        yield from (x for x in (found if isinstance(found, list) else [found]) if x)
    for choice in _choices(body):
        if error := choice.get("error"):
            yield error


def _words(error: Any) -> Iterator[str]:
    """Return the codes of an error, in lower case."""
    if isinstance(error, str):
        yield error[:100].lower()
    if not isinstance(error, dict):
        return
    for name in ("code", "type", "status"):
        if isinstance(value := error.get(name), str | int) and not isinstance(value, bool):
            yield str(value)[:100].lower() if isinstance(value, str) else f"{value:.0f}"[:100]
    if isinstance(inner := error.get("innererror"), dict):
        yield from _words({"code": inner.get("code")})


def _messages(error: Any) -> Iterator[str]:
    if isinstance(error, str):
        yield error
    if isinstance(error, dict):
        yield from (x for x in (error.get("message"), error.get("msg")) if isinstance(x, str))


def _has_parameter(error: Any) -> bool:
    return isinstance(error, dict) and isinstance(error.get("param"), str) and bool(error["param"])


def _ended(body: Any) -> Cause | None:
    """Return the cause if the server broke an answer off."""
    causes = (_CODES.get(_finish(choice)) for choice in _choices(body))
    return next((cause for cause in causes if cause in PASSING), None)


def _finish(choice: Mapping[str, Any]) -> str:
    return str(choice.get("finish_reason")).lower()


def _choices(body: Any) -> list[Mapping[str, Any]]:
    choices = body.get("choices") if isinstance(body, dict) else None
    return [x for x in choices if isinstance(x, dict)] if isinstance(choices, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The one answer that was asked for.

    Attributes:
        data: What the server says of it.
        finish: Why it ended: ``stop``, ``length``, ``tool_calls``, or ``unknown``.
        cut: Whether a limit on tokens ended it.
    """

    data: Mapping[str, Any]
    finish: str
    cut: bool


def choice_of(body: Any) -> Choice | str:
    """Return the one choice of an OpenAI-compatible answer, or the reason why it has none."""
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        return f"{Cause.UNREADABLE}: an answer without a list of choices"
    choices = body["choices"]
    if len(choices) > 1:
        return f"{Cause.SEVERAL_CHOICES}: {len(choices)} choices instead of 1"
    if not choices or not isinstance(choices[0], dict):
        return f"{Cause.UNREADABLE}: an answer without a choice"
    reason = _finish(choices[0])
    own = reason == _REFUSAL and refusal_of(choices[0].get("message"))
    if _CODES.get(reason) is Cause.CONTENT_FILTER and not own:
        return f"{Cause.CONTENT_FILTER}: stopped by the server's content filter"
    finish = reason if reason in {"stop", "tool_calls", "function_call"} else "unknown"
    cut = reason in CUT
    return Choice(data=choices[0], finish="length" if cut else finish, cut=cut)


_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
"""Names by which servers send a thought beside the content."""
_PARTS_OF_THOUGHT = ("thinking", "reasoning", "reasoning_text", "summary_text")


def refusal_of(message: Any) -> str:
    """Return the refusal that a message holds apart from its text, as a field or as a part; empty without one."""
    if not isinstance(message, dict):
        return ""
    content = message.get("content")
    parts = [x for x in content if isinstance(x, dict)] if isinstance(content, list) else []
    held = [message, *(x for x in parts if x.get("type") == _REFUSAL)]
    said = (x.get(_REFUSAL) for x in held)
    return next((x for x in said if isinstance(x, str) and x.strip()), "")


def text_of(content: Any) -> str | None:
    """Return the text of a message's content: a text, or parts of which those that are said are joined.

    Returns:
        The text, perhaps empty; ``None`` if the content is of no such form.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if not isinstance(part, dict | str):
            return None
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif part.get("type") in {"text", "output_text"} and not _is_thought(part):
            if not isinstance(part.get("text"), str):
                return None
            texts.append(part["text"])
    return "".join(texts)


def thought_of(message: Mapping[str, Any]) -> str:
    """Return the thought that a server sent apart: under a name of its own, or as parts of the content."""
    content = message.get("content")
    parts = [x for x in content if _is_thought(x)] if isinstance(content, list) else []
    sent = (*(message.get(name) for name in _THOUGHTS), parts)
    return next((x for x in map(_within, sent) if x.strip()), "")


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and (
        part.get("thought") is True or part.get("type") in _PARTS_OF_THOUGHT
    )


def _within(sent: Any) -> str:
    """Return the text in what stands for a thought: a text, an object that holds one, or a list of them."""
    if isinstance(sent, list):
        return "".join(map(_within, sent))
    if isinstance(sent, dict):
        return _within(next((sent[x] for x in ("text", "thinking", "content") if x in sent), ""))
    return sent if isinstance(sent, str) else ""
