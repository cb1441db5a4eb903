"""A judge behind HTTP: Self-RedTeam's ``POST /classify`` and an OpenAI-compatible ``/v1``.

``/v1/chat/completions`` takes the dialogue as user and assistant messages, ``/v1/completions``
WildGuard's filled prompt; both answer in WildGuard's three lines, so whatever asks a WildGuard server can
ask any judge. ``GET /v1/models`` tells its name. What comes in is read within bounds and answered with 4xx
where it is wrong; a judge that fails is a 502, or ``is_parsing_error`` of ``/classify``. Requests that
arrive while the judge is busy are judged together next.
"""

import asyncio
import hmac
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redteam_env.border import judges
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, Verdict, three_lines
from redteam_env.protocols import Judge
from redteam_env.utils.reading import parse_json

MOST_BYTES = 8 << 20
"""Of a request."""
MOST_QUERIES = 1024
"""Of a request to ``/classify``."""
MOST_MESSAGES = 256
"""Of a chat."""
MOST_TOGETHER = 256
"""Dialogues that the judge is given at once."""
BODY_SECONDS = 30.0
"""In which a request must have arrived."""

_FILLED = re.compile(
    r"(?s).*?^Human user:\n(?P<prompt>.*?)\n\nAI assistant:\n(?P<response>.*?)\n\n---\n\nAnswers:",
    re.MULTILINE,
)
_SECTION = re.compile(r"^(?:(Human user:|AI assistant:|Answers:)|---$)", re.MULTILINE)
_SEATS = {"user": ATTACKER, "assistant": DEFENDER}
_CLASSES: Mapping[str, tuple[str, Mapping[bool, str]]] = {
    "prompt_harmfulness": ("prompt_harmful", {True: "harmful", False: "unharmful"}),
    "response_harmfulness": ("response_harmful", {True: "harmful", False: "unharmful"}),
    "response_refusal": ("response_refusal", {True: "refusal", False: "compliance"}),
}


class _RefusedError(Exception):
    """A request that is refused.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def judge_app(judge: Judge, *, name: str | None = None, key: str = "", hosts: Sequence[str]) -> Any:
    """Return a FastAPI application that asks a judge.

    Args:
        judge: The judge; it is never asked twice at once.
        name: The model's name under ``/v1``; by default the judge's.
        key: If given, what every request must carry as bearer token.
        hosts: What a request may say it is for (``Host``), so that no web page reaches a server on this
            machine under a name of its own.

    Raises:
        RedteamError: If FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, Request  # noqa: PLC0415 - an extra
        from fastapi.responses import JSONResponse  # noqa: PLC0415
        from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415
    except ImportError as error:
        raise RedteamError(
            "Serving a judge needs FastAPI and uvicorn: pip install 'redteam-env[serve]'."
        ) from error

    batches = _Batches(judge)
    model = name or judge.name

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        worker = asyncio.create_task(batches.work())
        try:
            yield
        finally:
            worker.cancel()

    app = FastAPI(
        title=f"judge {model}", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    def answering(handle: Callable[[Any], Any], *, listed: bool = False) -> Callable[..., Any]:
        async def endpoint(request: Request) -> JSONResponse:
            try:
                _check_key(request.headers.get("authorization", ""), key)
                body = None if listed else await _body(request)
                return JSONResponse(await handle(body))
            except _RefusedError as refused:
                told = {"message": str(refused), "type": "invalid_request_error"}
                return JSONResponse({"error": told}, status_code=refused.status)

        return endpoint

    async def models(_: Any) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": model, "object": "model", "owned_by": "judge"}]}

    async def classify(body: Any) -> dict[str, Any]:
        queries = _queries(body)
        verdicts = await batches.ask([dialogue for _, dialogue in queries])
        return {
            "labels": [
                {**index, **_label(verdict)}
                for (index, _), verdict in zip(queries, verdicts, strict=True)
            ]
        }

    async def chat(body: Any) -> dict[str, Any]:
        [verdict] = await batches.ask([_conversation(_asked(body, model))])
        message = {"role": "assistant", "content": _said(verdict)}
        return _answer("chat.completion", model, {"message": message})

    async def completions(body: Any) -> dict[str, Any]:
        [verdict] = await batches.ask([_filled(_asked(body, model))])
        return _answer("text_completion", model, {"text": _said(verdict)})

    app.add_api_route("/v1/models", answering(models, listed=True), methods=["GET"])
    app.add_api_route("/classify", answering(classify), methods=["POST"])
    app.add_api_route("/v1/chat/completions", answering(chat), methods=["POST"])
    app.add_api_route("/v1/completions", answering(completions), methods=["POST"])
    return app


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and reached from nowhere else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Batches:
    """Gives a judge what has arrived, all of it at once, in a thread beside the server's."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._waiting: asyncio.Queue[tuple[Dialogue, asyncio.Future[Verdict]]] = asyncio.Queue()

    async def ask(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Return the verdicts on some dialogues."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in dialogues]
        for pair in zip(dialogues, futures, strict=True):
            self._waiting.put_nowait(pair)
        return list(await asyncio.gather(*futures))

    async def work(self) -> None:
        """Judge what arrives until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < MOST_TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            verdicts = await asyncio.to_thread(self._verdicts, [dialogue for dialogue, _ in batch])
            for (_, future), verdict in zip(batch, verdicts, strict=True):
                if not future.done():  # who asked may have gone
                    future.set_result(verdict)

    def _verdicts(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        try:
            return judges.verdicts(self._judge, dialogues)
        except Exception as error:  # noqa: BLE001 - a server outlives the failure of one batch
            failed = Verdict(error=f"the judge failed with {type(error).__name__}")
            return [failed] * len(dialogues)


def _check_key(header: str, key: str) -> None:
    if key and not hmac.compare_digest(header.encode(), f"Bearer {key}".encode()):
        raise _RefusedError(401, "give the server's key as bearer token")


async def _body(request: Any) -> Any:
    """Return the JSON of a request, read within bounds."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _RefusedError(415, "send application/json")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise _RefusedError(413, f"at most {MOST_BYTES} bytes are read")
    except TimeoutError as error:
        raise _RefusedError(408, f"the request took over {BODY_SECONDS:g} s to arrive") from error
    try:
        body = parse_json(bytes(content), place="the body")
    except RedteamError as error:
        raise _RefusedError(400, "the body is no JSON, or nested too deep") from error
    if not isinstance(body, dict):
        raise _RefusedError(422, "the body is no object")
    return body


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _RefusedError(422, f"{what} is no text")
    return value


def _list(value: Any, what: str, most: int) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(x, dict) for x in value):
        raise _RefusedError(422, f"{what} is no list of objects")
    if len(value) > most:
        raise _RefusedError(413, f"{what} has {len(value)} entries, at most {most} are read")
    return value


def _queries(body: Mapping[str, Any]) -> list[tuple[dict[str, int], Dialogue]]:
    """Return the dialogues of a request to ``/classify``, each with its index if it has one."""
    found = []
    for query in _list(body.get("queries"), "queries", MOST_QUERIES):
        index = query.get("game_idx")
        if index is not None and type(index) is not int:
            raise _RefusedError(422, "game_idx is no whole number")
        lines = (
            Line(seat=ATTACKER, text=_text(query.get("prompt"), "prompt")),
            Line(seat=DEFENDER, text=_text(query.get("response"), "response")),
        )
        found.append(({} if index is None else {"game_idx": index}, Dialogue(lines=lines)))
    return found


def _asked(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a request to ``/v1`` if it asks for what there is: one answer of this model, at once."""
    if body.get("model") != model:
        raise _RefusedError(404, f"there is one model, {model!r}")
    if body.get("stream") or body.get("n") not in (None, 1):
        raise _RefusedError(422, "one answer is given, and at once: leave stream and n out")
    return body


def _conversation(body: Mapping[str, Any]) -> Dialogue:
    lines = []
    for message in _list(body.get("messages"), "messages", MOST_MESSAGES):
        role = message.get("role")
        if not isinstance(role, str) or role not in _SEATS:
            raise _RefusedError(422, "messages are of the roles user and assistant only")
        lines.append(Line(seat=_SEATS[role], text=_text(message.get("content"), "content")))
    if not lines:
        raise _RefusedError(422, "there are no messages")
    return Dialogue(lines=tuple(lines))


def _filled(body: Mapping[str, Any]) -> Dialogue:
    """Return the dialogue in WildGuard's filled prompt."""
    prompt = _text(body.get("prompt"), "prompt")
    match = _FILLED.match(prompt)
    if match is None or len(_SECTION.findall(prompt)) != 4:
        raise _RefusedError(422, "the prompt is not WildGuard's, or has a section twice")
    return Dialogue(
        lines=(
            Line(seat=ATTACKER, text=match["prompt"]),
            Line(seat=DEFENDER, text=match["response"]),
        )
    )


def _label(verdict: Verdict) -> dict[str, Any]:
    if verdict.error is not None:
        return {**dict.fromkeys(_CLASSES), "is_parsing_error": True}
    values = {key: (getattr(verdict, field), words) for key, (field, words) in _CLASSES.items()}
    told = {key: None if own is None else words[own] for key, (own, words) in values.items()}
    return {**told, "is_parsing_error": False}


def _said(verdict: Verdict) -> str:
    if verdict.error is not None:
        raise _RefusedError(502, "the judge gave no verdict")
    return three_lines(verdict)


def _answer(kind: str, model: str, choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": "verdict",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", **choice}],
    }
