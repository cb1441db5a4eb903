"""Asking a server over HTTP, for judges and agents: bounded, patient, and never fatal.

Every request ends in an answer or in a short reason, which begins with a
:class:`~redteam_env.utils.answers.Cause` and holds no word of a server, no text of the request and no
secret. Causes that may pass by themselves are tried again with exponential backoff and jitter; the others
are final at once. A key goes with questions only, to the one origin (scheme, host, port) that it was first
used for: no look whether a server is there carries it, and redirects are not followed.
"""

import asyncio
import functools
import hashlib
import ipaddress
import json
import math
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx2
import tenacity

from redteam_env.game import Count, RedteamError, at_least, check_fields
from redteam_env.game.checks import Range
from redteam_env.randomness import generator
from redteam_env.utils.answers import PASSING, Cause, cause_of
from redteam_env.utils.aside import run_aside
from redteam_env.utils.reading import parse_json
from redteam_env.utils.threads import stop_event

MAX_RESPONSE_BYTES = 1 << 20
MAX_WAIT_S = 30.0
READY_TIMEOUT_S = 10.0
Seconds = Annotated[float, Range(low=0, above=True, high=1e6)]

_KEY_VARIABLE = re.compile(r"REDTEAM_ENV_[A-Z0-9_]+")
_origins: dict[tuple[str, str], str] = {}
"""The origin that each key was first sent to, by its variable and its SHA-256."""

_CURES = {
    404: "check the path of the url and the model's name",
    405: "check the path of the url",
    429: "the account's quota is used up",
}
_MOST_TOKENS = 10**9
"""No answer has so many: a server that says so is not believed."""
_PASSING = (
    httpx2.NetworkError,
    httpx2.RemoteProtocolError,
    httpx2.ProxyError,
)


class _FailedError(Exception):
    """A request that failed; its text is the reason.

    Attributes:
        cause: Why.
        retry_after: Seconds the server asked to wait, or ``None``.
    """

    def __init__(self, cause: Cause, told: str, retry_after: float | None = None) -> None:
        super().__init__(f"{cause}: {told}")
        self.cause = cause
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer: the JSON it sent, or why there is none.

    Attributes:
        data: The JSON.
        error: The reason, which begins with a :class:`~redteam_env.utils.answers.Cause`; or ``None``.
        attempts: How often it was asked.
    """

    data: Any = None
    error: str | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address that takes JSON by ``POST``, and how patiently it is asked.

    The key for the ``Authorization`` header is read from the environment at each call and stored
    nowhere. It is sent to one origin in a process; for a second one, another variable is named. A
    server on this machine is never asked through a proxy.

    Attributes:
        url: The address, ``http`` or ``https``.
        concurrency: Most requests under way at once.
        timeout: Seconds that one attempt may take, from the look-up of the host to the last byte.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first retry; doubled for each further one, at most 30. A
            server's ``Retry-After`` is honoured up to the same limit.
        key_variable: The environment variable that holds the key, ``REDTEAM_ENV_...``; ``None`` sends
            none.
        shared_key: Whether the key is for servers of other origins too, as that of a list of servers.

    Raises:
        RedteamError: If a value is out of range, or the variable is not one of ours.
    """

    url: str = field(repr=False)
    concurrency: Count = 16
    timeout: Seconds = 60.0
    retries: Annotated[int, at_least(0)] = 4
    backoff: Seconds = 0.5
    key_variable: str | None = None
    shared_key: bool = False

    def __post_init__(self) -> None:
        parse_url(self.url)
        check_fields(self)
        if self.key_variable is not None and not _KEY_VARIABLE.fullmatch(self.key_variable):
            raise RedteamError(
                f"key_variable is {self.key_variable!r}; give a variable whose name begins with "
                "REDTEAM_ENV_, such as REDTEAM_ENV_AGENT_API_KEY: no other one is sent to a server."
            )

    @property
    def shown(self) -> str:
        """The address as it may be printed: without user name, password, query and fragment."""
        return str(parse_url(self.url).copy_with(userinfo=b"", query=None, fragment=None))

    def post(self, bodies: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Send every body, at most ``concurrency`` at once.

        Args:
            bodies: The JSON objects to send.

        Returns:
            One answer for each body, in order.

        Raises:
            RedteamError: If the key in the environment cannot stand in a header, or is another
                server's.
        """
        if not bodies:
            return []
        contents = [json.dumps(body, allow_nan=False).encode("ascii") for body in bodies]
        return run_aside(self._post(contents))

    async def _post(self, contents: Sequence[bytes]) -> list[Answer]:
        slots = asyncio.Semaphore(self.concurrency)
        async with self._client(keyed=True) as client:
            return await asyncio.gather(
                *(self._ask(client, content, k, slots) for k, content in enumerate(contents))
            )

    def get(self, *, keyed: bool = False) -> Answer:
        """Fetch what the address answers to ``GET``; one attempt of at most 10 seconds.

        Args:
            keyed: Whether the key goes with it.

        Returns:
            The answer.

        Raises:
            RedteamError: If the key in the environment cannot stand in a header, or is another
                server's.
        """
        return run_aside(self._get(keyed))

    async def _get(self, keyed: bool) -> Answer:
        try:
            async with self._client(keyed=keyed) as client:
                return Answer(data=await self._attempt(client, "GET", limit=READY_TIMEOUT_S))
        except _FailedError as error:
            return Answer(error=str(error))

    def tell(self, body: Mapping[str, Any]) -> tuple[int, str]:
        """Send one body, once, and return what came back, a refusal and its reasons, too.

        Args:
            body: The JSON object to send.

        Returns:
            The HTTP status and the answer's text, whatever they are; status 0 and the reason if
            nothing came back.

        Raises:
            RedteamError: If the key in the environment cannot stand in a header, or is another
                server's.
        """
        content = json.dumps(body, allow_nan=False).encode("ascii")
        return run_aside(self._tell(content))

    async def _tell(self, content: bytes) -> tuple[int, str]:
        try:
            async with (
                self._client(keyed=True) as client,
                self._sent(client, "POST", content) as response,
            ):
                text = (await _read(response)).decode("utf-8", "replace")
                return response.status_code, text
        except _FailedError as error:
            return 0, str(error)

    def ready(self) -> None:
        """Find out, without the key, whether anything answers at the address; any answer counts.

        Raises:
            RedteamError: If nothing does within 10 seconds.
        """
        try:
            run_aside(self._ready())
        except _FailedError as error:
            raise RedteamError(
                f"No server answers at {self.shown} ({error}). Start it first, or correct the url's "
                "host and port."
            ) from error

    async def _ready(self) -> None:
        async with self._client() as client, self._sent(client, "GET", limit=READY_TIMEOUT_S):
            pass

    def _client(self, *, keyed: bool = False) -> httpx2.AsyncClient:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if keyed and (key := self._key()):
            headers["Authorization"] = f"Bearer {key}"
        trust_env = not _is_loopback(parse_url(self.url).host)
        return httpx2.AsyncClient(
            headers=headers,
            follow_redirects=False,
            timeout=None,  # an attempt has one clock, not one for each read
            trust_env=trust_env,
            verify=_tls(trust_env),
            limits=httpx2.Limits(max_connections=self.concurrency),
        )

    def _key(self) -> str:
        """Return the key; empty if there is none.

        Raises:
            RedteamError: If it cannot stand in a header, or was sent to another origin before.
        """
        name = self.key_variable
        key = os.environ.get(name, "").strip() if name else ""
        if not name or not key:
            return ""
        if not (key.isascii() and key.isprintable()):
            raise RedteamError(f"{name} holds characters that no key has; set it anew.")
        if not self.shared_key:
            own = origin_of(self.url)
            first = _origins.setdefault((name, hashlib.sha256(key.encode()).hexdigest()), own)
            if first != own:
                raise RedteamError(
                    f"The key in {name} is {first}'s and is not sent to {own}. Give that server a "
                    'variable of its own: key_variable = "REDTEAM_ENV_..." in endpoint:FILE.toml (any '
                    "text if it wants no key)."
                )
        return key

    async def _ask(
        self, client: httpx2.AsyncClient, content: bytes, index: int, slots: asyncio.Semaphore
    ) -> Answer:
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=lambda state: self._wait(state, index),
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            async with slots:
                data: Any = await attempts(self._attempt, client, "POST", content)
                return Answer(data=data, attempts=attempts.statistics.get("attempt_number", 1))
        except _FailedError as error:
            tried = attempts.statistics.get("attempt_number", 1)
            told = f"{error}{f' ({tried} attempts)' if tried > 1 else ''}"
            return Answer(error=told, attempts=tried)

    def _wait(self, state: tenacity.RetryCallState, index: int) -> float:
        """Return the seconds to wait: what the server asked for, or backoff with jitter."""
        error = state.outcome.exception() if state.outcome else None
        longest = min(MAX_WAIT_S, self.backoff * 2.0 ** (state.attempt_number - 1))
        path = ("http retry", os.getpid(), index, state.attempt_number)
        jittered = longest * float(generator(path).uniform(0.5, 1.0))
        asked = error.retry_after if isinstance(error, _FailedError) else None
        return jittered if asked is None else min(MAX_WAIT_S, max(asked, jittered))

    async def _attempt(
        self,
        client: httpx2.AsyncClient,
        method: str,
        content: bytes | None = None,
        limit: float = math.inf,
    ) -> Any:
        async with self._sent(client, method, content, limit) as response:
            good = response.is_success
            raw = await _read(response, whole=good)
        body = _json(raw)
        cause = cause_of(response.status_code, body)
        if cause is not None:
            raise self._failed(cause, response)
        if body is None:
            raise _FailedError(Cause.UNREADABLE, "answer that is no JSON")
        return body

    @asynccontextmanager
    async def _sent(
        self,
        client: httpx2.AsyncClient,
        method: str,
        content: bytes | None = None,
        limit: float = math.inf,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request once; what fails, or is not done when time is up, is a reason."""
        if stop_event().is_set():
            raise _FailedError(Cause.CANCELLED, "the run was stopped")
        seconds = min(self.timeout, limit)
        try:
            async with (
                asyncio.timeout(seconds),
                client.stream(method, self.url, content=content) as response,
            ):
                yield response
        except TimeoutError as error:
            raise _FailedError(Cause.TIMED_OUT, f"no whole answer within {seconds:g} s") from error
        except _PASSING as error:
            raise _FailedError(Cause.UNREACHABLE, _transport_reason(error)) from error
        except httpx2.HTTPError as error:
            raise _FailedError(Cause.UNREADABLE, _transport_reason(error)) from error

    def _failed(self, cause: Cause, response: httpx2.Response) -> _FailedError:
        """Return the failure that a server tells of, in our words."""
        code = response.status_code
        told = "an error in an answer with HTTP status" if response.is_success else "HTTP status"
        cure = {
            Cause.NOT_FOUND: _CURES.get(code),
            Cause.QUOTA: _CURES[429],
            Cause.REDIRECT: "the server redirects; give the final address",
            Cause.KEY: f"set the environment variable {self.key_variable}"
            if self.key_variable
            else "the server wants a key",
        }.get(cause)
        wait = _retry_after(response.headers.get("Retry-After", ""))
        return _FailedError(cause, f"{told} {code}{f': {cure}' if cure else ''}", wait)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _FailedError) and error.cause in PASSING


async def _read(response: httpx2.Response, *, whole: bool = True) -> bytes:
    """Return an answer's bytes; one that is too long is an error, or cut if it need not be whole."""
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) > MAX_RESPONSE_BYTES:
            if whole:
                raise _FailedError(Cause.UNREADABLE, f"answer over {MAX_RESPONSE_BYTES} bytes")
            break
    return bytes(raw[:MAX_RESPONSE_BYTES])


def _json(raw: bytes) -> Any:
    """Return the JSON in an answer; ``None`` if there is none."""
    try:
        return parse_json(raw, place="an answer")
    except RedteamError:
        return None


@functools.cache
def _tls(trust_env: bool) -> ssl.SSLContext:
    """Return the settings of encrypted connections; reading the certificates takes 0.07 s."""
    return httpx2.create_ssl_context(trust_env=trust_env)


def _transport_reason(error: httpx2.HTTPError) -> str:
    """Return what went wrong below HTTP, in words of this system and not of the server."""
    if not isinstance(error, httpx2.ConnectError):
        return f"connection failed: {type(error).__name__}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "cannot connect: no safe connection (TLS)"
        if isinstance(cause, socket.gaierror):
            return "cannot connect: no such host"
        if isinstance(cause, OSError) and cause.errno:
            return f"cannot connect: {os.strerror(cause.errno)}"
        cause = cause.__cause__ or cause.__context__
    return "cannot connect"


def _retry_after(value: str) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3); ``None`` if neither."""
    try:
        return max(0.0, float(int(value)))
    except (ValueError, OverflowError):
        pass
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def tokens_of(data: Any) -> tuple[int, int] | None:
    """Return the tokens read and written, as an OpenAI-compatible answer tells them, if it does."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not 0 <= min(prompt, completion) <= max(prompt, completion) < _MOST_TOKENS:
        return None
    return prompt, completion


def parse_url(url: str) -> httpx2.URL:
    """Return an address in its parts.

    Raises:
        RedteamError: If it is no ``http`` or ``https`` address with a host.
    """
    try:
        parsed = httpx2.URL(url)
        good = parsed.scheme in ("http", "https") and bool(parsed.host)
    except (httpx2.InvalidURL, TypeError):
        good = False
    if not good:
        shown = re.sub(r"//[^/]*@", "//", str(url))
        raise RedteamError(
            f"The server's url is {shown!r}; give an http or https address such as "
            "http://127.0.0.1:8000."
        )
    return parsed


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, the port always.

    Raises:
        RedteamError: As :func:`parse_url`.
    """
    parsed = parse_url(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{parsed.scheme}://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
