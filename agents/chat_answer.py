"""Reading what an OpenAI-compatible chat API answered: text, or why there is none, and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam_env.utils.answers import Cause, choice_of, refusal_of, text_of, thought_of
from redteam_env.utils.http import Answer, tokens_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """An answer to one request.

    Attributes:
        text: What the model said; after a failure nothing.
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
    thought so far. A refusal that the API sends apart (``message.refusal``, or a part of its content) is
    what the model said. No text, a tool call, a content filter's
    intervention, and anything that is no chat answer are failures.

    Args:
        answer: The server's JSON, or why there is none.

    Returns:
        What it says.
    """
    if answer.error is not None:
        return ChatAnswer(error=answer.error)
    tokens = tokens_of(answer.data)
    choice = choice_of(answer.data)
    if isinstance(choice, str):
        return ChatAnswer(error=choice, tokens=tokens)
    message = choice.data.get("message")
    if not isinstance(message, dict):
        return ChatAnswer(error=f"{Cause.UNREADABLE}: an answer without a message", tokens=tokens)
    thought = thought_of(message)
    text, error = _text(message, choice.finish)
    if thought and not text and choice.cut:
        error = None
    cut = error is None and choice.cut
    return ChatAnswer(text=text, thought=thought, error=error, cut=cut, tokens=tokens)


def _text(message: Mapping[str, Any], finish: str) -> tuple[str, str | None]:
    """Return the text of a message and, if it is no answer, the reason."""
    content, refusal = text_of(message.get("content")), refusal_of(message)
    text, error = content or "", None
    if not text.strip() and refusal:
        text = refusal
    elif not text.strip() and (message.get("tool_calls") or message.get("function_call")):
        error = f"{Cause.NO_TEXT}: a tool call instead of text"
    elif content is None:
        error = f"{Cause.UNREADABLE}: an answer that is no text"
    elif not text.strip():
        error = f"{Cause.NO_TEXT}: an empty answer (finish reason: {finish})"
    return text, error
