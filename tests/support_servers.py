"""Servers on 127.0.0.1 with recorded answers, for tests that need a judge behind HTTP."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from redteam_env.judges.judge import EXPECTED, PROBES

Labels = tuple[bool | None, bool | None, bool | None]
"""Harmful request, response refusal, harmful response; None is n/a."""

RECORDED: tuple[Labels, ...] = (
    (True, True, False),
    (False, False, False),
    (True, False, True),
    (False, True, False),
    (True, False, False),
)
BROKEN_TEXTS = (
    "",
    "Harmful request: perhaps\nResponse refusal: no\nHarmful response: no",
    "Harmful request: yes\nHarmful response: no",
    "I would rather not say.",
)
BROKEN_LABELS: tuple[Any, ...] = (
    {"is_parsing_error": True},
    {"prompt_harmfulness": "perhaps", "is_parsing_error": False},
    None,
    "harmful",
)
PROBED: dict[str, Labels] = {
    dialogue.lines[0].text: (x["prompt_harmful"], x["response_refusal"], x["response_harmful"])
    for dialogue, x in zip(PROBES, EXPECTED, strict=True)
}
"""What is asked at the start, and what is right: whatever the record says, it is answered so."""
DROP = 0
"""As a status: close the connection without an answer."""


def wildguard_text(labels: Labels) -> str:
    words = {True: "yes", False: "no", None: "n/a"}
    names = ("Harmful request", "Response refusal", "Harmful response")
    return "\n".join(f"{n}: {words[x]}" for n, x in zip(names, labels, strict=True)) + "\n"


def classify_label(labels: Labels) -> dict[str, Any]:
    harm = {True: "harmful", False: "unharmful", None: None}
    refusal = {True: "refusal", False: "compliance", None: None}
    return {
        "prompt_harmfulness": harm[labels[0]],
        "response_refusal": refusal[labels[1]],
        "response_harmfulness": harm[labels[2]],
        "is_parsing_error": False,
    }


@dataclass
class Answered:
    """One query that was answered: what was asked, and whether the answer was a broken one."""

    query: dict[str, Any]
    broken: bool


@dataclass
class RecordedJudgeServer:
    """A WildGuard server that answers from a record, on ``/v1/completions`` and ``/classify``.

    Use it as a context manager; ``url`` is its root. Queries are numbered from 0 in the order in
    which they arrive; the three test dialogues of ``ready()`` count too.

    Attributes:
        answers: Given in turn, or a function of the query (``prompt``, and for ``/classify``
            ``response`` and ``game_idx``).
        broken: Numbers of the queries that get a broken answer, or a share such as 0.1, by which
            the last of every ten queries does.
        statuses: HTTP statuses of the first requests, in turn; 200 answers, DROP hangs up.
        headers: Sent with every status other than 200.
        delay: Seconds before each answer.
        raw: If given, every answer's body, as it is.
        transform: If given, applied to each answer's JSON before it is sent.
        gate: If given, no request is answered before it is set.
        knows_probes: Whether the dialogues of ``ready()`` are answered rightly, whatever the answers.
        models: If given, what ``GET /v1/models`` lists.
    """

    answers: Sequence[Labels] | Callable[[dict[str, Any]], Labels] = RECORDED
    broken: Sequence[int] | float = ()
    statuses: Sequence[int] = ()
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    raw: bytes | None = None
    transform: Callable[[Any], Any] | None = None
    gate: threading.Event | None = None
    knows_probes: bool = True
    models: Sequence[str] = ()

    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list, init=False)
    """Path, headers (lower case) and JSON body of each POST."""
    answered: list[Answered] = field(default_factory=list, init=False)
    most_at_once: int = field(default=0, init=False)
    _now: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def broken_count(self) -> int:
        return sum(x.broken for x in self.answered)

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/v1/models" and owner.models:
                    listed = {"data": [{"id": name} for name in owner.models]}
                    return self._send(200, json.dumps(listed).encode())
                return self._send(404, b"{}")

            def do_POST(self) -> None:
                with owner._entered():
                    owner._serve(self)

            def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None):
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

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
        if self.gate:
            self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def _serve(self, handler: Any) -> None:
        content = handler.rfile.read(int(handler.headers["Content-Length"]))
        body = json.loads(content)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            number = len(self.requests)
            self.requests.append((handler.path, headers, body))
        status = self.statuses[number] if number < len(self.statuses) else 200
        if self.gate:
            self.gate.wait(30)
        time.sleep(self.delay)
        if status == DROP:
            handler.close_connection = True
            return
        if status != 200:
            handler._send(status, b'{"error": "scripted"}', self.headers)
        elif self.raw is not None:
            handler._send(200, self.raw)
        elif handler.path == "/v1/completions":
            labels, spoilt = self._answer(body)
            text = wildguard_text(labels) if spoilt is None else BROKEN_TEXTS[spoilt % 4]
            self._send_json(handler, {"object": "text_completion", "choices": [{"text": text}]})
        elif handler.path == "/classify":
            self._send_json(handler, {"labels": [self._label(query) for query in body["queries"]]})
        else:
            handler._send(404, b"{}")

    def _send_json(self, handler: Any, body: Any) -> None:
        sent = self.transform(body) if self.transform else body
        handler._send(200, json.dumps(sent).encode())

    def _label(self, query: dict[str, Any]) -> Any:
        labels, spoilt = self._answer(query)
        label = classify_label(labels) if spoilt is None else BROKEN_LABELS[spoilt % 4]
        return {"game_idx": query["game_idx"], **label} if isinstance(label, dict) else label

    def _answer(self, query: dict[str, Any]) -> tuple[Labels, int | None]:
        """Return the labels for a query and, if its answer is to be broken, a running number."""
        with self._lock:
            number = len(self.answered)
            if isinstance(self.broken, float):
                broken = self.broken > 0 and (number + 1) % round(1 / self.broken) == 0
            else:
                broken = number in self.broken
            spoilt = self.broken_count if broken else None
            self.answered.append(Answered(query, broken))
        probed = [labels for text, labels in PROBED.items() if text in query["prompt"]]
        if probed and self.knows_probes:
            return probed[0], spoilt
        if callable(self.answers):
            return self.answers(query), spoilt
        return self.answers[number % len(self.answers)], spoilt
