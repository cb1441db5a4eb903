"""An OpenAI-compatible server on this machine that fails now and then."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Self

from redteam_env.game import unknown_name
from redteam_env.testing.faults.when import When

Answer = tuple[int, bytes]
HANG_UP, CUT_OFF = 0, -1


def _error(status: int, code: str) -> Answer:
    return status, json.dumps({"error": {"message": "made to fail", "code": code}}).encode()


SERVER_FAULTS: Mapping[str, Answer] = MappingProxyType(
    {
        "status_400": _error(400, "bad_request"),
        "status_401": _error(401, "invalid_api_key"),
        "status_429": _error(429, "rate_limit_exceeded"),
        "status_500": _error(500, "internal"),
        "status_503": _error(503, "overloaded"),
        "error_in_200": _error(200, "502"),
        "no_json": (200, b"<html>Bad gateway</html>"),
        "no_choices": (200, b'{"choices": []}'),
        "empty": (200, b""),
        "hangs_up": (HANG_UP, b""),
        "cut_off": (CUT_OFF, b'{"choices": [{"mess'),
    }
)
"""The ways in which a :class:`FaultyServer` fails: status and body; 0 closes the connection without an answer,
-1 in the middle of one."""


class FaultyServer:
    """Answers chat and plain completions on 127.0.0.1, and fails now and then; a context manager.

    Args:
        answer: Returns the text for a request's JSON; by default it is always the same.
        when: Which requests fail, in the order in which they arrive; by default none.
        how: In which way: a name in :data:`SERVER_FAULTS`.

    Raises:
        RedteamError: If there is no such way.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, Any]], str] = lambda _: "I will not.",
        *,
        when: When | None = None,
        how: str = "status_503",
    ) -> None:
        if how not in SERVER_FAULTS:
            raise unknown_name("way in which a server fails", how, SERVER_FAULTS)
        self.when = When() if when is None else when
        self._answer = answer
        self._how = how

    @property
    def url(self) -> str:
        """Its address, as an endpoint's ``url`` takes it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        """Start it."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, b'{"data": [{"id": "faulty"}]}')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(*owner._respond(body, chat="chat" in self.path))

            def answer(self, status: int, body: bytes) -> None:
                self.close_connection = True
                if status == HANG_UP:
                    return
                self.send_response(200 if status == CUT_OFF else status)
                longer = 100 if status == CUT_OFF else 0
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body) + longer))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _respond(self, body: bytes, *, chat: bool) -> Answer:
        if self.when.due():
            return SERVER_FAULTS[self._how]
        request = json.loads(body)
        text = self._answer(request)
        content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        answer = {
            "id": "1",
            "model": request.get("model", "faulty"),
            "choices": [{"index": 0, "finish_reason": "stop", **content}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        return 200, json.dumps(answer).encode()
