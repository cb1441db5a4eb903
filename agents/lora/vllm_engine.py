"""vLLM in this process: an engine with a copy of the base, and an adapter for each request.

Whole models are read into the place of the base's weights (``reload_weights``), and all keys and values
forgotten. On its CPU backend vLLM packs weights and forgets to pack an output head again that is tied to
the embeddings; it is done here.

Token ids go in and come out; nothing is tokenised again. Which ids end a turn is said by the request,
as in the ``hf`` backend, and not by the model's own generation config. Each request draws from a
generator seeded by its path.

On a GPU the engine sleeps while the trainer computes (its weights go to the host's memory, keys and
values are dropped) and wakes for the next request.
"""

import bisect
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from agents.lora.chat import ChatCodec
from agents.lora.config import PolicyConfig
from agents.lora.hf import Sampled
from agents.lora.publishing import EngineBackend, Published
from agents.lora.store import Store
from agents.models import locate
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for; an adapter of another rank takes the next larger one's."""
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads when it is imported, unless the user has set it: stay in this process, on whichever
cores it has, in silence."""


class VllmEngine:
    """One vLLM engine in this process.

    Args:
        model: What vLLM loads: a directory or a hub id.
        stop_ids: Ids that end a completion.
        cuda: Whether it runs on a GPU.
        options: What vLLM is told besides (``vllm.LLM``).
    """

    name = "the vLLM engine in this process"

    def __init__(self, model: str, stop_ids: Sequence[int], *, cuda: bool, **options: Any) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise RedteamError(
                "backend 'vllm' needs the process for itself, but this is one of several trainers; "
                "start servers and sample with --backend served."
            )
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm  # noqa: PLC0415 - optional, and slow to import
        from vllm.lora.request import LoRARequest  # noqa: PLC0415

        self._vllm, self._lora_request = vllm, LoRARequest
        self._stop_ids = sorted(stop_ids)
        self._cuda, self._asleep = cuda, False
        with self._named(f"load {model!r}"):
            self._llm: Any = vllm.LLM(
                model,
                skip_tokenizer_init=True,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                enable_prefix_caching=True,
                distributed_executor_backend="uni",
                enforce_eager=not cuda,
                enable_sleep_mode=cuda,
                # what the trainer leaves free is not vLLM's to claim; kv_cache_memory_bytes counts
                **({"gpu_memory_utilization": 0.05} if cuda else {}),
                **options,
            )

    def complete(
        self,
        version: Published | None,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Sampled]:
        """Sample one completion for each prompt, all with one version, or all with the base."""
        self._wake()
        params = [
            self._vllm.SamplingParams(
                temperature=temperature,
                seed=seed,
                max_tokens=max_new_tokens,
                stop_token_ids=self._stop_ids,
                ignore_eos=True,  # the ids above are all that end a turn
                logprobs=0,
                detokenize=False,
            )
            for seed in seeds
        ]
        with self._named("sample"):
            answers = self._llm.generate(
                [{"prompt_token_ids": list(prompt)} for prompt in prompts],
                params,
                lora_request=self._request(version) if version and not version.whole else None,
                use_tqdm=False,
            )
        return [self._sampled(answer.outputs[0]) for answer in answers]

    def add(self, version: Published) -> None:
        """Load an adapter, or a whole model in the place of the one that is there."""
        self._wake()
        if not version.whole:
            with self._named(f"take the adapter {version.name!r}"):
                self._llm.llm_engine.add_lora(self._request(version))
            return
        with self._named(f"take the weights {version.name!r}"):
            place = {"weights_path": str(version.directory)}
            self._llm.collective_rpc("reload_weights", kwargs=place)
            if not self._cuda:
                self._llm.apply_model(_pack_head)
            self._llm.reset_prefix_cache()

    def remove(self, version: Published) -> None:
        """Forget an adapter, and all keys and values."""
        if not version.whole:
            self._llm.llm_engine.remove_lora(version.number)
            self._llm.reset_prefix_cache()

    def rest(self) -> None:
        """Sleep until the next request, on a GPU."""
        if self._cuda and not self._asleep:
            self._llm.sleep(level=1)
            self._asleep = True

    def close(self) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown()

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Say what vLLM could not do, whatever its many parts raise."""
        # on a CPU compiling parts of the sampler takes minutes and saves nothing
        eager = contextlib.nullcontext() if self._cuda else torch.compiler.set_stance("force_eager")
        try:
            with eager:
                yield
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise RedteamError(
                f"vLLM cannot {what}: {lines[0][:300].rstrip('.')}. Sample with --backend hf, or "
                "change what it complains of."
            ) from error

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False

    def _request(self, version: Published) -> Any:
        return self._lora_request(version.name, version.number, str(version.directory))

    def _sampled(self, output: Any) -> Sampled:
        ids = tuple(output.token_ids)
        return Sampled(
            ids=ids,
            logprobs=tuple(
                float(place[token].logprob)
                for token, place in zip(ids, output.logprobs, strict=True)
            ),
            finished=ids[-1] in self._stop_ids,
        )


def _pack_head(model: Any) -> None:
    """Have vLLM pack the weights of a model's output head as they are now."""
    head = getattr(model, "lm_head", None)
    if head is not None and hasattr(head, "cpu_linear"):
        head.quant_method.process_weights_after_loading(head)


def start_engine(config: PolicyConfig, store: Store, codec: ChatCodec) -> EngineBackend:
    """Start an engine that plays a policy's base and what is trained.

    Args:
        config: The policy's.
        store: The trainer's weights.
        codec: Its tokenizer.

    Raises:
        RedteamError: If the engine cannot be started or plays something else.
    """
    model = store.base.model
    engine = VllmEngine(
        locate(store.base.spec),
        sorted(codec.stop_ids),
        cuda=model.device.type == "cuda",
        revision=config.revision,
        dtype=str(model.dtype).removeprefix("torch."),
        max_model_len=codec.max_prompt_tokens + config.max_new_tokens,
        max_num_seqs=config.generation_batch,
        kv_cache_memory_bytes=round(config.kv_cache_gb * 2**30),
        **({} if config.full else _room(config)),
    )
    return EngineBackend(
        [engine],
        store,
        codec,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        directory=config.adapter_dir,
        whole=config.full,
    )


def _room(config: PolicyConfig) -> dict[str, Any]:
    """Return what vLLM is told of adapters."""
    names = {name for name in config.weights.values() if name != BASE}
    room = len(names) + 1  # saved weights take a place of their own
    return {
        "enable_lora": True,
        "max_lora_rank": RANKS[bisect.bisect_left(RANKS, config.rank)],
        "max_loras": room,
        "max_cpu_loras": 2 * room,  # an old version is there until the new one is proved
    }
