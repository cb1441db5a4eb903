"""One vLLM engine for all tests that need the real one: starting it takes longer than they do."""

import atexit
import functools
import tempfile
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


@functools.cache
def engine_model(seed: int = 0) -> Path:
    """Return a tiny Qwen2 with heads that vLLM has kernels for."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return save_tiny(Path(folder.name) / "tiny", seed=seed, scale=0.15, hidden=128)


class SharedEngine(VllmEngine):
    """Is not stopped by the policy that started it."""

    def close(self) -> None:
        pass


_STARTED: list[VllmEngine] = []


def running() -> VllmEngine:
    """Return the engine that was started last."""
    return _STARTED[-1]


@functools.cache
def _engine(model: str, stop_ids: tuple[int, ...], options: tuple) -> SharedEngine:
    _STARTED.append(SharedEngine(model, stop_ids, cuda=False, **dict(options)))
    return running()


def share_engine(monkeypatch) -> None:
    """Let policies of the same options use one engine."""

    def start(model, stop_ids, *, cuda, **options):
        assert not cuda
        options |= {"max_loras": 3, "max_cpu_loras": 6, "max_lora_rank": 8}
        return _engine(model, tuple(stop_ids), tuple(sorted(options.items())))

    monkeypatch.setattr(vllm_engine, "VllmEngine", start)
