"""The real vLLM: one engine for all tests of one kind, since starting it takes longer than they do; servers."""

import atexit
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tiny_models import save_tiny

from agents.lora import vllm_engine
from agents.lora.vllm_engine import VllmEngine

OPTIONS = {
    "rank": 4,
    "max_new_tokens": 12,
    "max_prompt_tokens": 400,
    "generation_batch": 16,
    "kv_cache_gb": 0.1,
    "device": "cpu",
    "backend": "vllm",
}
"""What every policy of these tests has; the engine is made for it."""
ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TORCH_COMPILE_DISABLE": "1",
}


@functools.cache
def engine_model(seed: int = 0, *, tied: bool = True) -> Path:
    """Return a tiny Qwen2 with heads that vLLM has kernels for."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    place = Path(folder.name) / "tiny"
    return save_tiny(place, seed=seed, scale=0.15, hidden=128, tied=tied)


class SharedEngine(VllmEngine):
    """Is not stopped by the policy that started it."""

    def close(self) -> None:
        pass


_USED: list[VllmEngine] = []


def running() -> VllmEngine:
    """Return the engine that a policy was given last."""
    return _USED[-1]


@functools.cache
def _engine(model: str, stop_ids: tuple[int, ...], options: tuple) -> SharedEngine:
    return SharedEngine(model, stop_ids, cuda=False, **dict(options))


def share_engine(monkeypatch) -> None:
    """Let policies of the same options use one engine."""

    def start(model, stop_ids, *, cuda, **options):
        assert not cuda
        if "enable_lora" in options:
            options |= {"max_loras": 3, "max_cpu_loras": 6, "max_lora_rank": 8}
        _USED.append(_engine(model, tuple(stop_ids), tuple(sorted(options.items()))))
        return running()

    monkeypatch.setattr(vllm_engine, "VllmEngine", start)


@contextlib.contextmanager
def serving(model: Path, log: Path, *words, **environment):
    """Run a server; yields its address."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    common = f"""-m vllm.entrypoints.openai.api_server --model {model} --host 127.0.0.1 --port {port}
        --dtype float32 --enforce-eager --max-model-len 420 --kv-cache-memory-bytes 100000000
        --logprobs-mode processed_logprobs"""
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *common.split(), *words],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            with contextlib.suppress(urllib.error.URLError):
                models(url)
                break
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def models(url):
    with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
        return [card["id"] for card in json.load(answer)["data"]]
