"""Reading what an OpenAI-compatible chat API answered: text, or why there is none, and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam_env.utils.http import Answer, tokens_of

_FINISHES = ("stop", "length", "content_filter", "tool_calls", "function_call")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """An answer to one request.

    Attributes:
        text: What the model said; after a failure what there is of it, mostly nothing.
        thought: What the server sent apart as its thought.
        error: Why it is no answer, without any of the server's words, or ``None``.
        cut: Whether the token limit ended it.
        tokens: Tokens of prompt and completion as the server counts them, ``None`` if it does not.
    """

    text: str = ""
    thought: str = ""
    error: str | None = None
    cut: bool = False
    tokens: tuple[int, int] | None = None


def read_chat_answer(answer: Answer) -> ChatAnswer:
    """Read a server's answer to one request for one choice.

    An answer that the model broke off at its token limit is an answer, also if it is nothing but a
    thought (``reasoning_content``, ``reasoning``) so far. A refusal that the API sends
    apart (``message.refusal``) is what the model said. No text, a tool call, a content filter's
    intervention, and anything that is no chat answer are failures.

    Args:
        answer: The server's JSON, or why there is none.

    Returns:
        What it says.
    """
    if answer.error is not None:
        return ChatAnswer(error=answer.error)
    found = _choice(answer.data)
    if isinstance(found, str):
        return ChatAnswer(error=found, tokens=tokens_of(answer.data))
    message, finish = found
    thought = _thought(message)
    text, error = _text(message, finish)
    if thought and not text and finish == "length":
        error = None
    cut = error is None and finish == "length"
    return ChatAnswer(
        text=text, thought=thought, error=error, cut=cut, tokens=tokens_of(answer.data)
    )


def _choice(data: Any) -> tuple[Mapping[str, Any], str] | str:
    """Return the one message and why it ended, or what is wrong with the answer."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list):
        return "an answer without a list of choices"
    if len(choices) != 1:
        return f"an answer with {len(choices)} choices instead of 1"
    choice = choices[0] if isinstance(choices[0], dict) else {}
    message, finish = choice.get("message"), choice.get("finish_reason")
    if not isinstance(message, dict):
        return "an answer without a message"
    return message, finish if finish in _FINISHES else "unknown"


def _thought(message: Mapping[str, Any]) -> str:
    """Return the thought that a server sent apart: vLLM and DeepSeek use one name, others the other."""
    sent = (message.get(name) for name in ("reasoning_content", "reasoning"))
    return next((x for x in sent if isinstance(x, str) and x.strip()), "")


def _text(message: Mapping[str, Any], finish: str) -> tuple[str, str | None]:
    """Return the text of a message and, if it is no answer, the reason."""
    content, refusal = message.get("content"), message.get("refusal")
    text = content if isinstance(content, str) else ""
    error = None
    if finish == "content_filter":
        error = "stopped by the server's content filter"
    elif not text.strip() and isinstance(refusal, str) and refusal.strip():
        text = refusal
    elif not text.strip() and message.get("tool_calls"):
        error = "a tool call instead of text"
    elif not isinstance(content, str | None):
        error = "an answer that is no text"
    elif not text.strip():
        error = f"an empty answer (finish reason: {finish})"
    return text, error
