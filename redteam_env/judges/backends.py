"""Backends of judges: OpenAI-compatible servers, Self-RedTeam's own classification, an agent in process."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from redteam_env.border import agents
from redteam_env.game import RedteamError, take_thoughts
from redteam_env.judges.judge import Completion
from redteam_env.judges.soft import Token
from redteam_env.judges.template import Exchange, Message
from redteam_env.protocols import Agent, TurnRequest, Usage
from redteam_env.utils.answers import Cause, choice_of, text_of
from redteam_env.utils.http import Answer, Endpoint, parse_url, tokens_of

KEY_VARIABLE = "REDTEAM_ENV_JUDGE_API_KEY"
"""The environment variable that holds the key of a judge's server."""

_MOST_NAMED, _MOST_SHOWN = 20, 100
"""Of a server's models in messages, and of characters in the name of one."""


@dataclass(slots=True, kw_only=True)
class OpenAIBackend:
    """Asks an OpenAI-compatible server: one greedy request for each query.

    A query that is a text goes to ``/v1/completions`` as it is, a raw completion; servers such as vLLM
    put the beginning-of-text token in front themselves. One that is chat messages goes to
    ``/v1/chat/completions``, where the server applies the model's chat template; a thought before the
    answer is taken off.

    Attributes:
        endpoint: The server, with the whole path.
        model: The model's name there.
        max_tokens: Longest answer, in tokens.
        bodies: Further fields of a request, one table for each question of the judge; queries come
            in their order.
        top: How many alternatives to each token of an answer are asked for; 0 asks for none.
        usage: Requests and tokens so far.
    """

    concurrent: ClassVar[bool] = True
    endpoint: Endpoint
    model: str
    max_tokens: int = 128
    bodies: tuple[Mapping[str, Any], ...] = ({},)
    top: int = 0
    usage: Usage = field(default=Usage(), init=False, compare=False)

    def complete(self, queries: Sequence[str | Sequence[Message]], /) -> list[Completion]:
        """Return one completion for each query, in order."""
        answers = self.endpoint.post([self._body(k, query) for k, query in enumerate(queries)])
        completions = [
            _first_choice(answer, chat=not isinstance(query, str))
            for answer, query in zip(answers, queries, strict=True)
        ]
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

    def _body(self, k: int, query: str | Sequence[Message]) -> dict[str, Any]:
        fixed = {"model": self.model, "max_tokens": self.max_tokens, "temperature": 0}
        own = {**self.bodies[k % len(self.bodies)], **fixed}
        if isinstance(query, str):
            return {**own, "prompt": query, **({"logprobs": self.top} if self.top else {})}
        soft = {"logprobs": True, "top_logprobs": self.top} if self.top else {}
        return {**own, "messages": [dict(message) for message in query], **soft}

    def ready(self) -> None:
        """Find out whether the server answers, and has the model if it tells which it has.

        Raises:
            RedteamError: If nothing answers, or the model is not among those that it tells.
        """
        self.endpoint.ready()
        served = _served(self.endpoint)
        if served and self.model not in served:
            raise RedteamError(
                f"The server at {self.endpoint.shown} serves {', '.join(map(repr, served))}, not "
                f"{self.model!r}. Give the name that it is served under: model=NAME behind the judge's, "
                "as in wildguard?model=NAME."
            )


def _served(endpoint: Endpoint) -> list[str]:
    """Return the models that an OpenAI-compatible server tells it has; none if it tells nothing."""
    url = parse_url(endpoint.url)
    root = url.path.removesuffix("/chat/completions").removesuffix("/completions")
    answer = replace(endpoint, url=str(url.copy_with(path=f"{root}/models"))).get()
    listed = answer.data.get("data") if isinstance(answer.data, dict) else None
    if not isinstance(listed, list):
        return []
    names = (x.get("id") for x in listed if isinstance(x, dict))
    return [x[:_MOST_SHOWN] for x in names if isinstance(x, str)][:_MOST_NAMED]


def _first_choice(answer: Answer, *, chat: bool) -> Completion:
    if answer.error is not None:
        return Completion(error=answer.error)
    choice = choice_of(answer.data)
    if isinstance(choice, str):
        return Completion(error=choice)
    message = choice.data.get("message") if chat else None
    text = text_of(message.get("content")) if isinstance(message, dict) else None
    text = text if chat else choice.data.get("text")
    if not isinstance(text, str):
        return Completion(error=f"{Cause.UNREADABLE}: answer without a text")
    if chat:
        text = take_thoughts(text).text
    return Completion(text=text, tokens=tuple(_alternatives(choice.data.get("logprobs"))))


def _alternatives(logprobs: Any) -> Iterator[Token]:
    """Yield an answer's tokens with their alternatives, as completions and as chats tell them.

    What is not of the form ends them: a probability less, and no verdict lost.
    """
    if not isinstance(logprobs, dict):
        return
    if isinstance(content := logprobs.get("content"), list):
        rows: list[tuple[Any, list[tuple[Any, Any]]]] = [
            (x.get("token"), [(y.get("token"), y.get("logprob")) for y in _dicts(x)])
            for x in content
            if isinstance(x, dict)
        ]
    else:
        texts, tops = logprobs.get("tokens"), logprobs.get("top_logprobs")
        if not isinstance(texts, list) or not isinstance(tops, list) or len(texts) != len(tops):
            return
        rows = [
            (text, list(top.items()) if isinstance(top, dict) else [])
            for text, top in zip(texts, tops, strict=True)
        ]
    for text, found in rows:
        if not isinstance(text, str):
            return
        own = {x: y for x, y in found if isinstance(x, str) and _is_number(y)}
        yield Token(text=text, logprobs=own)


def _dicts(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = row.get("top_logprobs")
    return [x for x in found if isinstance(x, dict)] if isinstance(found, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBackend:
    """Asks a model in this process, which comes as an agent: chat messages in, text out.

    A query that is a text is the one message of a request: the agent is to go on with it as it stands.

    Attributes:
        agent: The model; it should be greedy.
    """

    agent: Agent

    def complete(self, queries: Sequence[str | Sequence[Message]], /) -> list[Completion]:
        """Return one completion for each query, in order."""
        requests = [
            TurnRequest(
                seat="judge_0",
                role="judge",
                messages=[{"role": "user", "content": x}] if isinstance(x, str) else x,
                path=("judge", k),
            )
            for k, x in enumerate(queries)
        ]
        replies = agents.act(self.agent, requests)
        return [
            Completion(text=reply.text) if reply.error is None else Completion(error=reply.error)
            for reply in replies
        ]

    def ready(self) -> None:
        """Find out whether the agent can answer."""
        agents.check_ready(self.agent, "model of the judge")
