"""Any chat model behind an OpenAI-compatible API as an agent: a frozen opponent, a target under test.

It plays either seat through ``/v1/chat/completions``. An answer that is lacking (the server fails,
its content filter cuts in, there is no text) is a reply with ``error``: the game is void, because
such a failure is neither a refusal nor a success. What the model says is data and nothing else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from agents.chat_answer import read_chat_answer
from redteam_env.game import (
    Count,
    RedteamError,
    Spoken,
    at_least,
    check_fields,
    take_thoughts,
    unknown_name,
)
from redteam_env.protocols import Reply, TurnRequest, Usage
from redteam_env.randomness import integer_seed
from redteam_env.utils.answers import Cause
from redteam_env.utils.http import Answer, Endpoint, origin_of, parse_url
from redteam_env.utils.reading import read_toml
from redteam_env.utils.text import break_chat_tokens

KEY_VARIABLE = "REDTEAM_ENV_AGENT_API_KEY"
"""The environment variable that holds the key of an agent's server, unless another one is named."""
OTHERS_KEYS = {
    "REDTEAM_ENV_JUDGE_API_KEY": "the judge's server",
    "REDTEAM_ENV_SERVER_API_KEY": "the servers that sample for training",
}
"""Variables whose keys no agent's server gets."""

FORMS = (
    "endpoint:MODEL@URL (such as endpoint:Qwen/Qwen2.5-7B-Instruct@http://127.0.0.1:8000) or "
    "endpoint:FILE.toml (with url, model and further settings)"
)
CHAT = "/chat/completions"
MOST_LISTED = 10

Prefill = Literal["ignore", "continue"]

_INLINE = re.compile(r"(?P<model>.+)@(?P<url>https?://.+)", re.DOTALL)
_QUESTION = TurnRequest(
    seat="defender_0",
    role="defender",
    messages=(
        {"role": "system", "content": "Answer in one short sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ),
    path=("endpoint", "ready"),
)


@dataclass(slots=True, kw_only=True)
class EndpointAgent:
    """A chat model behind an API.

    Each request carries a seed that belongs to its path, so a server that honours seeds answers the
    same game in the same way.

    What a model thinks is hidden from everybody, whether the server sends it apart
    (``reasoning_content`` or ``reasoning``) or in the text: ``<think>...</think>``, or a bare
    ``</think>`` where the server's template opened the thought. Where the game asks for its own format
    (``thinking="required"``), the text goes to the rules as it is.

    The server renders the text of players by a template that is not seen here, so control tokens of
    chat templates in that text are broken, as they are for judges, and the turn's record says so.

    Attributes:
        url: The server's base, with its ``/v1`` or whatever else comes before
            ``/chat/completions``; a bare host stands for its ``/v1``.
        model: The model's name there.
        temperature: Sampling temperature; 0 is greedy.
        max_tokens: Longest answer, in tokens.
        prefill: What becomes of a text that the answer is to start with (``thinking="required"``
            has one). ``ignore`` leaves it out: the instructions ask for the format, and the rules
            read an answer with or without it. ``continue`` sends it as the beginning of the
            assistant's message, for servers that go on from there as vLLM does
            (``continue_final_message``).
        merge_system: Put the instructions in front of the first message of the user, for models
            without a system role.
        omit: Fields left out of the request, of ``max_tokens``, ``temperature`` and ``seed``, for
            APIs that refuse them.
        extra: Further fields of the request, as the API names them.
        prompt_price: What a million prompt tokens cost, in any currency.
        completion_price: What a million completion tokens cost.
        concurrency: Most requests under way at once.
        timeout: Seconds that one attempt may take.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first retry, doubled for each further one.
        key_variable: The environment variable that holds the key, ``REDTEAM_ENV_...``; it is read at
            each call and kept nowhere. The key goes to this server's origin only.
        usage: Requests, tokens and cost so far.

    Raises:
        RedteamError: If a value is of the wrong type or out of range.
    """

    url: str = field(repr=False)
    model: str
    temperature: Annotated[float, at_least(0)] = 1.0
    max_tokens: Count = 256
    prefill: Prefill = "ignore"
    merge_system: bool = False
    omit: Sequence[Literal["max_tokens", "temperature", "seed"]] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    prompt_price: Annotated[float | None, at_least(0)] = None
    completion_price: Annotated[float | None, at_least(0)] = None
    concurrency: int = 16
    timeout: float = 60.0
    retries: int = 4
    backoff: float = 0.5
    key_variable: str = KEY_VARIABLE
    usage: Usage = field(default=Usage(), init=False)
    _endpoint: Endpoint = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check()
        self._endpoint = self._at(CHAT)
        self.usage = Usage(cost=self._cost(0, 0))

    @property
    def reaches(self) -> str:
        """Where its questions go, and with which key, for somebody who is asked to confirm it."""
        return f"{origin_of(self.url)} with the key in {self.key_variable}"

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order; a failure is a reply with ``error``.

        Raises:
            RedteamError: If the key in the environment cannot stand in a header, or is another server's.
        """
        shown = [_harmless(request.messages) for request in requests]
        answers = self._endpoint.post(
            [
                self._body(request, messages)
                for request, messages in zip(requests, shown, strict=True)
            ]
        )
        return [
            self._reply(request, answer, neutralised=messages != list(map(dict, request.messages)))
            for request, messages, answer in zip(requests, shown, answers, strict=True)
        ]

    def ready(self) -> None:
        """Find out whether the model answers, before games depend on it, with a harmless question.

        Raises:
            RedteamError: If nobody answers at the address, or not with a chat model's answer; the
                text names the models that the server lists.
        """
        self._endpoint.ready()
        (reply,) = self.act([_QUESTION])
        if reply.error is None:
            return
        raise RedteamError(
            f"The model {self.model!r} at {self._endpoint.shown} cannot be used: {reply.error} "
            f"(asked a harmless test question).{self._hint(reply.error)}"
        )

    def _hint(self, reason: str) -> str:
        if reason.partition(":")[0] in {Cause.REFUSED, Cause.REFUSED_FIELD}:
            return (
                " The API may refuse a field or a system message: see omit, extra and merge_system "
                "of an endpoint's file."
            )
        data = self._at("/models").get().data
        rows = data.get("data") if isinstance(data, dict) else None
        names = [x.get("id") for x in rows if isinstance(x, dict)] if isinstance(rows, list) else []
        listed = [x for x in names if isinstance(x, str)]
        if not listed or self.model in listed:
            return ""
        more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
        return f" The server lists {', '.join(map(repr, listed[:MOST_LISTED]))}{more}."

    def _body(self, request: TurnRequest, messages: list[dict[str, str]]) -> dict[str, Any]:
        messages = [dict(message) for message in messages]
        if self.merge_system and len(messages) > 1 and messages[0]["role"] == "system":
            rules = messages.pop(0)
            messages[0]["content"] = f"{rules['content']}\n\n{messages[0]['content']}"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": integer_seed(request.path) % 2**31,  # not every server reads 64 bits
        }
        if request.prefill and self.prefill == "continue":
            messages.append({"role": "assistant", "content": request.prefill})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return {k: v for k, v in body.items() if k not in self.omit} | dict(self.extra)

    def _reply(self, request: TurnRequest, answer: Answer, *, neutralised: bool) -> Reply:
        read = read_chat_answer(answer)
        prompt, completion = read.tokens or (0, 0)
        self.usage = self.usage.plus(
            Usage(
                requests=1,
                failed=int(read.error is not None),
                retries=answer.attempts - 1,
                cut=int(read.cut),
                unmetered=int(answer.error is None and read.tokens is None),
                prompt_tokens=prompt,
                completion_tokens=completion,
                cost=self._cost(prompt, completion),
            )
        )
        # where the game asks for its format, the rules read it: a thought there is the format's
        spoken = Spoken(read.text) if request.prefill else take_thoughts(read.text)
        return Reply(
            text=spoken.text.removeprefix(request.prefill),
            error=read.error,
            truncated=read.cut or not spoken.finished,
            thought="\n".join(filter(None, (read.thought, spoken.thought))),
            neutralised=neutralised,
        )

    def _cost(self, prompt: int, completion: int) -> float | None:
        if self.prompt_price is None or self.completion_price is None:
            return None
        return (prompt * self.prompt_price + completion * self.completion_price) / 1e6

    def _at(self, tail: str) -> Endpoint:
        parsed = parse_url(self.url)
        path = parsed.path.rstrip("/") or "/v1"
        base = path.removesuffix(CHAT)
        return Endpoint(
            url=str(parsed.copy_with(path=base + tail)),
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            key_variable=self.key_variable,
        )

    def _check(self) -> None:
        check_fields(self, "endpoint ")
        if not self.model.strip():
            raise RedteamError(f"An endpoint's model is {self.model!r}; give a name.")
        if self.key_variable in OTHERS_KEYS:
            raise RedteamError(
                f"An endpoint's key_variable is {self.key_variable!r}, which holds the key of "
                f"{OTHERS_KEYS[self.key_variable]}; give the agent a variable of its own."
            )
        if (self.prompt_price is None) != (self.completion_price is None):
            raise RedteamError(
                "An endpoint has one of prompt_price and completion_price; give both or neither."
            )
        if not _is_json(self.extra):
            raise RedteamError(
                f"An endpoint's extra is {self.extra!r}; give fields with values that JSON has."
            )


def endpoint(
    role: str,  # noqa: ARG001 - every agent factory takes the role
    argument: str = "",
    *,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
) -> EndpointAgent:
    """A chat model behind an API.

    Args:
        role: The role it is to play; it gets that role's instructions with every request.
        argument: ``MODEL@URL``, or a TOML file with the settings of :class:`EndpointAgent`.
        max_new_tokens: Longest answer, in tokens, unless the file says otherwise.
        temperature: Sampling temperature, unless the file says otherwise.

    Returns:
        The agent.

    Raises:
        RedteamError: If the argument is neither, the address holds a password or a query (it would
            be printed in reports), or a setting is wrong.
    """
    asked = {"max_tokens": max_new_tokens, "temperature": temperature}
    settings: dict[str, Any] = {name: x for name, x in asked.items() if x is not None}
    if match := _INLINE.fullmatch(argument):
        url = parse_url(match["url"])
        if url.userinfo or url.query:
            raise RedteamError(
                "An endpoint's address is printed in reports, so it holds no password and no query. "
                f"Put a key into the environment variable {KEY_VARIABLE}, a query into a file's url: "
                "endpoint:FILE.toml."
            )
        settings |= {"model": match["model"], "url": match["url"]}
    else:
        settings |= _read_file(argument)
    return EndpointAgent(**settings)


def _harmless(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return messages with the control tokens in the text of players broken; the rules are our own."""
    return [
        {**x, "content": x["content"] if x["role"] == "system" else break_chat_tokens(x["content"])}
        for x in messages
    ]


def _read_file(argument: str) -> dict[str, Any]:
    if not argument:
        raise RedteamError(f"The agent 'endpoint' needs an address: {FORMS}.")
    path = Path(argument).expanduser()
    try:
        settings = read_toml(path)
    except RedteamError as error:
        raise RedteamError(f"{argument!r} names no endpoint: {error} Give {FORMS}.") from error
    known = [x.name for x in fields(EndpointAgent) if x.init]
    for name in settings:
        if name not in known:
            raise unknown_name(f"setting in {argument!r}", name, known)
    for name in ("url", "model"):
        if name not in settings:
            raise RedteamError(f"The endpoint in {argument!r} has no {name}; add one.")
    return settings


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return isinstance(value, dict)
