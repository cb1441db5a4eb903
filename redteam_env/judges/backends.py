"""Backends on top of a server: raw completions, and Self-RedTeam's own classification."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from redteam_env.judges.judge import Completion
from redteam_env.judges.template import Exchange
from redteam_env.protocols import Usage
from redteam_env.utils.answers import Cause, choice_of
from redteam_env.utils.http import Answer, Endpoint, tokens_of

KEY_VARIABLE = "REDTEAM_ENV_JUDGE_API_KEY"
"""The environment variable that holds the key of a judge's server."""


@dataclass(slots=True, kw_only=True)
class CompletionsBackend:
    """Asks an OpenAI-compatible ``/v1/completions``: one greedy request for each prompt.

    The prompt goes out as it is: a raw completion, no chat. Servers such as vLLM put the
    beginning-of-text token in front themselves.

    Attributes:
        endpoint: The server.
        model: The model's name there.
        max_tokens: Longest answer, in tokens.
        usage: Requests and tokens so far.
    """

    concurrent: ClassVar[bool] = True
    endpoint: Endpoint
    model: str
    max_tokens: int = 128
    usage: Usage = field(default=Usage(), init=False, compare=False)

    def complete(self, queries: Sequence[str], /) -> list[Completion]:
        """Return one completion for each prompt, in order."""
        fixed = {"model": self.model, "max_tokens": self.max_tokens, "temperature": 0}
        answers = self.endpoint.post([{**fixed, "prompt": query} for query in queries])
        completions = [_first_choice(answer) for answer in answers]
        self.usage = self.usage.plus(
            Usage(
                requests=len(answers),
                failed=sum(completion.error is not None for completion in completions),
                retries=sum(answer.attempts - 1 for answer in answers),
                cut=sum(_is_cut(answer) for answer in answers),
                **_tokens(answers),
            )
        )
        return completions

    def ready(self) -> None:
        """Find out whether the server answers."""
        self.endpoint.ready()


def _first_choice(answer: Answer) -> Completion:
    if answer.error is not None:
        return Completion(error=answer.error)
    choice = choice_of(answer.data)
    if isinstance(choice, str):
        return Completion(error=choice)
    text = choice.data.get("text")
    if not isinstance(text, str):
        return Completion(error=f"{Cause.UNREADABLE}: answer without choices[0].text")
    return Completion(text=text)


def _is_cut(answer: Answer) -> bool:
    choice = choice_of(answer.data)
    return not isinstance(choice, str) and choice.cut


def _tokens(answers: Sequence[Answer]) -> dict[str, int]:
    """Return the fields of :class:`Usage` that are about tokens."""
    counts = [tokens_of(answer.data) for answer in answers if answer.error is None]
    known = [count for count in counts if count is not None]
    return {
        "unmetered": len(counts) - len(known),
        "prompt_tokens": sum(prompt for prompt, _ in known),
        "completion_tokens": sum(completion for _, completion in known),
    }


@dataclass(slots=True, kw_only=True)
class ClassifyBackend:
    """Asks Self-RedTeam's own judge server, which knows the template itself (``POST /classify``).

    Attributes:
        endpoint: The server.
        batch: Most dialogues in one request.
        usage: Requests so far, and tokens if the server tells them.
    """

    concurrent: ClassVar[bool] = True
    endpoint: Endpoint
    batch: int = 64
    usage: Usage = field(default=Usage(), init=False, compare=False)

    def complete(self, queries: Sequence[Exchange], /) -> list[Completion]:
        """Return the label of each exchange as JSON text, in order."""
        chunks = [
            range(start, min(start + self.batch, len(queries)))
            for start in range(0, len(queries), self.batch)
        ]
        answers = self.endpoint.post([_classify_body(queries, chunk) for chunk in chunks])
        self.usage = self.usage.plus(
            Usage(
                requests=len(answers),
                failed=sum(answer.error is not None for answer in answers),
                retries=sum(answer.attempts - 1 for answer in answers),
                **_tokens(answers),
            )
        )
        return [
            completion
            for chunk, answer in zip(chunks, answers, strict=True)
            for completion in _labels(answer, chunk)
        ]

    def ready(self) -> None:
        """Find out whether the server answers."""
        self.endpoint.ready()


def _classify_body(queries: Sequence[Exchange], chunk: Sequence[int]) -> dict[str, Any]:
    return {
        "queries": [
            {"game_idx": k, "prompt": queries[k].prompt, "response": queries[k].response}
            for k in chunk
        ]
    }


def _labels(answer: Answer, asked: Sequence[int]) -> list[Completion]:
    """Match a server's labels with the games asked about: by ``game_idx`` if given, else by order.

    Without ``game_idx``, a wrong number of labels leaves open which belong where: all are errors.
    """
    if answer.error is not None:
        return [Completion(error=answer.error)] * len(asked)
    labels = answer.data.get("labels") if isinstance(answer.data, dict) else None
    if not isinstance(labels, list):
        return [Completion(error=f"{Cause.UNREADABLE}: answer without a list of labels")] * len(
            asked
        )
    given = [label.get("game_idx") if isinstance(label, dict) else None for label in labels]
    if all(index is None for index in given):
        if len(labels) != len(asked):
            return [Completion(error=f"{Cause.UNREADABLE}: wrong number of labels")] * len(asked)
        return [Completion(text=json.dumps(label)) for label in labels]
    found: dict[Any, list[Any]] = {}
    for index, label in zip(given, labels, strict=True):
        if type(index) is int:
            found.setdefault(index, []).append(label)
    return [
        Completion(text=json.dumps(found[index][0]))
        if len(found.get(index, ())) == 1
        else Completion(error=f"{Cause.UNREADABLE}: no label, or more than one, for this dialogue")
        for index in asked
    ]
