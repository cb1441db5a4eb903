"""A chat API on 127.0.0.1 for tests of agents behind HTTP."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MODEL = "tiny/chat-1b"


def said(content: Any, *, finish: str = "stop", tokens: Any = (10, 5), **message: Any) -> dict:
    """What a chat API answers."""
    body: dict[str, Any] = {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
            }
        ],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return body


def is_probe(body: Any) -> bool:
    """Whether a request is the harmless question by which an agent finds out whether it is ready."""
    return "capital of France" in body["messages"][-1]["content"]


@dataclass
class ChatServer:
    """Answers ``/v1/chat/completions`` and lists its model at ``/v1/models``.

    Use it as a context manager; ``url`` is its root. The question of ``ready()`` is answered apart
    and stands in ``probes``.

    Attributes:
        answer: Returns, for a request's body, a JSON object, raw bytes, an HTTP status, or
            a pair of status and JSON object.
        key: If given, requests without it get 401.
        models: The listed models; ``None`` lists none (404).
        probe: Answers the question of ``ready()``.
        location: Where a status redirects to.
    """

    answer: Callable[[Any], Any] = lambda body: said("fine")
    key: str | None = None
    models: Sequence[str] | None = (MODEL,)
    probe: Callable[[Any], Any] = lambda body: 404 if body["model"] != MODEL else said("Paris.")

    location: str = ""
    requests: list[Any] = field(default_factory=list, init=False)
    looks: list[dict[str, str]] = field(default_factory=list, init=False)
    """Headers of each GET."""
    probes: list[Any] = field(default_factory=list, init=False)
    headers: list[dict[str, str]] = field(default_factory=list, init=False)
    most_at_once: int = field(default=0, init=False)
    _now: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spec(self) -> str:
        """How a user names the agent."""
        return f"endpoint:{MODEL}@{self.url}"

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.looks.append(dict(self.headers.items()))
                listed = self.path == "/v1/models" and owner.models is not None
                data = {"data": [{"id": name} for name in owner.models or ()]}
                self._send(data if listed else 404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(owner._answer(self.path, dict(self.headers.items()), body))

            def _send(self, answer: Any) -> None:
                status, answer = answer if isinstance(answer, tuple) else (200, answer)
                status = answer if isinstance(answer, int) else status
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                if owner.location:
                    self.send_header("Location", owner.location)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients under test hang up

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, headers: dict[str, str], body: Any) -> Any:
        if path != "/v1/chat/completions":
            return 404
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return 401
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.headers.append(headers)
            (self.probes if is_probe(body) else self.requests).append(body)
        try:
            return self.probe(body) if is_probe(body) else self.answer(body)
        finally:
            with self._lock:
                self._now -= 1
