"""A server on 127.0.0.1 that speaks as vLLM 0.32 does, with a twin of the tiny model behind it.

Its refusals were recorded from the real server.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from engine_fakes import TwinEngine

from agents.lora.publishing import Published

NOT_FOUND = (404, {"detail": "Not Found"})


def refusal(status: int, kind: str, message: str) -> tuple[int, Any]:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return status, {"error": error}


@dataclass
class FakeVllm:
    """Use it as a context manager; ``url`` is its root.

    Attributes:
        twin: Samples.
        max_model_len: Its context.
        max_lora_rank: Largest rank that it takes.
        runtime_lora: Whether the addresses for loading and unloading exist.
        lora: Whether it was started with ``--enable-lora``.
        dev: Whether it was started with ``VLLM_SERVER_DEV_MODE=1``.
        blind: Whether it sees none of our directories.
        key: If given, what requests must carry.
        transform: Applied to each completion before it is sent.
        loaded: Adapters by name, in the order in which they were loaded.
        requests: Address and body of each POST.
    """

    twin: TwinEngine
    max_model_len: int = 2048
    max_lora_rank: int = 16
    runtime_lora: bool = True
    lora: bool = True
    dev: bool = False
    blind: bool = False
    key: str | None = None
    transform: Callable[[dict], Any] = lambda body: body
    loaded: dict[str, Published] = field(default_factory=dict)
    requests: list[tuple[str, dict]] = field(default_factory=list)

    def __post_init__(self):
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with owner._lock:
                    found = owner.models() if self.path == "/v1/models" else NOT_FOUND
                self.answer(*(found if owner.key is None or self.allowed() else (401, {})))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner._lock:
                    owner.requests.append((self.path, body))
                    self.answer(*(owner.post(self.path, body) if self.allowed() else (401, {})))

            def allowed(self):
                return owner.key is None or self.headers["Authorization"] == f"Bearer {owner.key}"

            def answer(self, status: int, body: Any):
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def models(self):
        base = {"id": "tiny", "parent": None, "max_model_len": self.max_model_len}
        more = [{"id": name, "parent": "tiny", "max_model_len": None} for name in self.loaded]
        return 200, {"object": "list", "data": [*more, base]}

    def post(self, path: str, body: dict):
        if path == "/v1/completions":
            return self.complete(body)
        if path in ("/collective_rpc", "/reset_prefix_cache") and self.dev:
            return self.develop(path, body)
        if path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and self.runtime_lora:
            name = body["lora_name"]
            if path == "/v1/load_lora_adapter":
                return self.load(name, Path(body["lora_path"]))
            if name not in self.loaded:
                text = f"The lora adapter '{name}' cannot be found."
                return refusal(404, "NotFoundError", text)
            self.twin.remove(self.loaded.pop(name))
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        return NOT_FOUND

    def develop(self, path: str, body: dict):
        if path == "/reset_prefix_cache":
            return 200, ""
        assert body["method"] == "reload_weights"
        place = Path(body["kwargs"]["weights_path"])
        if self.blind or not (place / "model.safetensors").is_file():
            return refusal(500, "InternalServerError", "")
        self.twin.put(place)
        return 200, {"results": [None]}

    def load(self, name: str, directory: Path):
        if not self.lora:
            text = "LoRA is not enabled. Use --enable-lora to enable LoRA."
            return refusal(500, "InternalServerError", text)
        if self.blind or not (directory / "adapter_config.json").is_file():
            text = f"Loading lora {name} failed: No adapter found for {directory}"
            return refusal(404, "NotFoundError", text)
        rank = json.loads((directory / "adapter_config.json").read_text())["r"]
        if rank > self.max_lora_rank:
            text = f"LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}."
            return refusal(500, "InternalServerError", text)
        if name in self.loaded:
            text = f"The lora adapter '{name}' has already been loaded."
            return refusal(400, "InvalidUserInput", text)
        adapter = Published(
            weights=name.partition("@")[0], version=0, name=name, number=0, directory=directory
        )
        self.twin.add(adapter)
        self.loaded[name] = adapter
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def complete(self, body: dict):
        name = body["model"]
        if name != "tiny" and name not in self.loaded:
            text = f"The model `{name}` does not exist. Valid aliases: tiny."
            return refusal(404, "NotFoundError", text)
        assert body["logprobs"] == 0
        assert body["return_token_ids"]
        assert body["ignore_eos"]
        assert body["top_p"] == body["repetition_penalty"] == 1
        self.twin.stop_ids = tuple(body["stop_token_ids"])
        row = self.twin.complete(
            self.loaded.get(name),
            [body["prompt"]],
            [body["seed"]],
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
        )[0]
        choice = {
            "index": 0,
            "text": "",
            "logprobs": {"token_logprobs": list(row.logprobs), "tokens": [""] * len(row.ids)},
            "finish_reason": "stop" if row.finished else "length",
            "token_ids": list(row.ids),
            "prompt_token_ids": body["prompt"],
        }
        answer = {"object": "text_completion", "model": name, "choices": [choice]}
        return 200, self.transform(answer)
