"""vLLM's servers: completions over HTTP, with adapters that are loaded while the server runs.

Each server speaks OpenAI's completions with vLLM's additions: prompts are token ids, token ids and
their log-probabilities come back (``return_token_ids``), and ``/v1/load_lora_adapter`` and
``/v1/unload_lora_adapter`` give and take adapters. It is started with ``--enable-lora``,
``--max-lora-rank`` at least the adapters', ``--max-loras`` at least one more than there are trained
adapters, ``--logprobs-mode processed_logprobs`` and ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`` in its
environment.

Where whole models are trained, a server needs none of that but ``VLLM_SERVER_DEV_MODE=1`` in its
environment: ``/collective_rpc`` then has it read a directory into the place of its weights
(``reload_weights``), and ``/reset_prefix_cache`` forgets keys and values. Whoever reaches such a server can
have it run methods of its own, so it belongs into a network of your own, and it serves one run: it holds
one model, and goes on with the last one when the run ends. On its CPU backend vLLM 0.32 plays old weights
in an output head that is tied to the embeddings, which the proof finds out at the first update.

A load reaches one server only; :class:`~agents.lora.publishing.EngineBackend` sends it to each and
proves it there.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from agents.lora.chat import ChatCodec
from agents.lora.config import PolicyConfig
from agents.lora.hf import Sampled
from agents.lora.publishing import EngineBackend, Published
from agents.lora.store import Store
from redteam_env.game import RedteamError
from redteam_env.utils.http import Endpoint, parse_url

KEY_VARIABLE = "REDTEAM_ENV_SERVER_API_KEY"
"""The environment variable that holds the servers' key, if they were started with one."""
TIMEOUT_S = 600.0
"""How long a request may take; with one more try it stays below the patience of other processes."""
_LEAVE_S = 10.0
_MOST_AT_ONCE = 256
_OK = 200
_ABSENT = (404, 405, 501)
"""What a server answers for an address that it does not have."""
_DEV_MODE = "start it with VLLM_SERVER_DEV_MODE=1 in its environment"
_RUNTIME_LORA = (
    "start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment"
)


class VllmServer:
    """One server.

    Args:
        url: Its address, with or without ``/v1``.
        stop_ids: Ids that end a completion.
        longest: Most tokens of prompt and completion together.
        rank: The adapters' rank.
        concurrency: Most requests under way at once.

    Raises:
        RedteamError: If nothing answers there, it is no such server, or its context is too short.
    """

    def __init__(
        self, url: str, stop_ids: Sequence[int], *, longest: int, rank: int, concurrency: int
    ) -> None:
        self._root = str(parse_url(url)).rstrip("/").removesuffix("/v1")
        self._stop_ids = sorted(stop_ids)
        self._rank = rank
        self._completions = self._endpoint("/v1/completions", min(concurrency, _MOST_AT_ONCE))
        self.name = f"The server {self._endpoint('').shown}"
        self._base = self._find_base(longest)

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
        model = version.name if version and not version.whole else self._base
        common = {
            "model": model,
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "stop_token_ids": self._stop_ids,
            "ignore_eos": True,  # the ids above are all that end a turn
            "logprobs": 0,
            "return_token_ids": True,
            "add_special_tokens": False,
            "skip_special_tokens": False,
            # what a server takes from the model's generation config unless it is told
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
        answers = self._completions.post(
            [
                {**common, "prompt": list(prompt), "seed": seed}
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
        )
        result = []
        for answer, prompt in zip(answers, prompts, strict=True):
            if answer.error is not None:
                raise RedteamError(
                    f"{self.name} did not complete a prompt with {model!r}: {answer.error}. Look at "
                    "its log; resume from the last checkpoint."
                )
            result.append(self._read(answer.data, model, prompt))
        return result

    def add(self, version: Published) -> None:
        """Load an adapter, or a whole model in the place of the one that is there."""
        if version.whole:
            self._put(version)
            return
        body = {"lora_name": version.name, "lora_path": str(version.directory)}
        status, text = self._endpoint("/v1/load_lora_adapter").tell(body)
        if status == _OK:
            return
        said = f"{self.name} does not load the adapter {version.name!r}"
        lowered = text.lower()
        self._check_reached(said, status, text)
        if "max_lora_rank" in lowered:
            raise RedteamError(
                f"{said}: its max_lora_rank is below the rank {self._rank}; start it with "
                f"--max-lora-rank {self._rank} or more."
            )
        if any(x in lowered for x in ("no adapter found", "no such file", "permission denied")):
            raise RedteamError(
                f"{said}: it cannot read {str(version.directory)!r}; give a directory that both see "
                "under the same path as --adapter-dir."
            )
        if status in _ABSENT or "lora is not enabled" in lowered:
            raise RedteamError(f"{said}: it takes none while it runs; {_RUNTIME_LORA}.")
        raise RedteamError(f"{said}: status {status}, {text[:300]!r}. Look at its log.")

    def _put(self, version: Published) -> None:
        """Have the server read a whole model into the place of its weights, and forget keys and values."""
        said = f"{self.name} does not load the weights {version.name!r}"
        place = {"weights_path": str(version.directory)}
        reload = {"method": "reload_weights", "kwargs": place}
        for path, body in (("/collective_rpc", reload), ("/reset_prefix_cache", {})):
            status, text = self._endpoint(path).tell(body)
            if status == _OK:
                continue
            self._check_reached(said, status, text)
            if status in _ABSENT:
                raise RedteamError(f"{said}: it takes none while it runs; {_DEV_MODE}.")
            raise RedteamError(
                f"{said}: status {status} from {path}, {text[:300]!r}. It must be a server of the same base "
                f"and see {str(version.directory)!r}; if it does not, start it again, and give a directory "
                "that both see under the same path as --adapter-dir."
            )

    def _check_reached(self, said: str, status: int, text: str) -> None:
        if status == 0:
            raise RedteamError(f"{said}: {text}. Look at its log.")
        if status in {401, 403}:
            raise RedteamError(
                f"{said}: it wants a key; set the environment variable {KEY_VARIABLE}."
            )

    def remove(self, version: Published) -> None:
        """Forget an adapter; one that the server does not know is no error.

        Raises:
            RedteamError: If nothing answers.
        """
        if version.whole:
            return
        status, text = self._endpoint("/v1/unload_lora_adapter", timeout=_LEAVE_S).tell(
            {"lora_name": version.name}
        )
        if status == 0:
            raise RedteamError(
                f"{self.name} does not unload {version.name!r}: {text}. Look at its log."
            )

    def rest(self) -> None:
        """Do nothing: the server has memory of its own."""

    def close(self) -> None:
        """Do nothing: the server goes on without us."""

    def _endpoint(self, path: str, concurrency: int = 1, timeout: float = TIMEOUT_S) -> Endpoint:
        return Endpoint(
            url=f"{self._root}{path}",
            concurrency=concurrency,
            timeout=timeout,
            retries=1,
            key_variable=KEY_VARIABLE,
            shared_key=True,
        )

    def _find_base(self, longest: int) -> str:
        """Return the base's name on the server."""
        models = self._endpoint("/v1/models")
        models.ready()
        answer = models.get(keyed=True)
        cards = answer.data.get("data") if isinstance(answer.data, Mapping) else None
        try:
            card = next(x for x in cards or () if not x.get("parent"))
            name, most = str(card["id"]), card.get("max_model_len")
        except (AttributeError, KeyError, StopIteration, TypeError):
            reason = answer.error or "its answer lists no model"
            raise RedteamError(
                f"{self.name} is no OpenAI-compatible server of completions: {models.shown}: {reason}. "
                "Give the address of a vLLM server."
            ) from None
        if isinstance(most, int) and most < longest:
            raise RedteamError(
                f"{self.name} takes {most} tokens of prompt and completion, up to {longest} are asked "
                f"for; start it with --max-model-len {longest}, or lower max_prompt_tokens."
            )
        return name

    def _read(self, data: Any, model: str, prompt: Sequence[int]) -> Sampled:
        """Return the completion that an answer holds."""
        try:
            choice = data["choices"][0]
            ids = tuple(int(i) for i in choice["token_ids"])
            logprobs = tuple(float(x) for x in choice["logprobs"]["token_logprobs"])
            played, read = data["model"], tuple(choice["prompt_token_ids"])
        except (KeyError, IndexError, TypeError, ValueError):
            ids = logprobs = read = ()
            played = None
        if not ids or len(ids) != len(logprobs):
            raise RedteamError(
                f"{self.name} answers without token ids and their log-probabilities; it must be a vLLM "
                "server that knows return_token_ids (0.10.2 or later)."
            )
        if played != model or read != tuple(prompt):
            raise RedteamError(
                f"{self.name} was asked for {model!r} and answered for another model or prompt; give "
                "the address of the vLLM server itself."
            )
        return Sampled(ids=ids, logprobs=logprobs, finished=ids[-1] in self._stop_ids)


def connect_servers(config: PolicyConfig, store: Store, codec: ChatCodec) -> EngineBackend:
    """Connect to the servers that a policy's configuration names.

    Args:
        config: The policy's.
        store: The trainer's weights.
        codec: Its tokenizer.

    Raises:
        RedteamError: If one is not there, is of another kind, or serves another base; if several
            processes train whole models, of which a server holds one.
    """
    if config.full and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RedteamError(
            f"{config.arrangement} trains whole models, of which a server holds one at a time, but this is "
            "one of several trainers that would each put theirs there; train in one process, or sample "
            "with --backend hf."
        )
    servers = [
        VllmServer(
            url,
            sorted(codec.stop_ids),
            longest=codec.max_prompt_tokens + config.max_new_tokens,
            rank=config.rank,
            concurrency=config.generation_batch,
        )
        for url in config.servers
    ]
    return EngineBackend(
        servers,
        store,
        codec,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        directory=config.adapter_dir,
        whole=config.full,
    )
