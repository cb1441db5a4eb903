"""Who samples completions: one small protocol, and the trainer's own code as the first to speak it.

Log-probabilities for training always come from the trainer (:mod:`agents.lora.hf`). What a backend
returns beside its tokens are the log-probabilities it drew them at; ``exact`` says whether they come
from the trainer's own model and formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Protocol

import numpy as np

from agents.lora.chat import ChatCodec
from agents.lora.config import PolicyConfig
from agents.lora.hf import opening_logprobs, sample
from agents.lora.leads import common_lead
from agents.lora.store import Store
from redteam_env.game import Generation, RedteamError
from redteam_env.randomness import Address, generator


class Backend(Protocol):
    """Samples completions from the named weights of a policy.

    Attributes:
        exact: Whether its log-probabilities are those of the trainer's own model.
    """

    exact: ClassVar[bool]

    def generate(
        self,
        weights: str,
        prompts: Sequence[tuple[int, ...]],
        paths: Sequence[Address],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Generation]:
        """Sample one completion for each prompt, from one weights' current version.

        Args:
            weights: Their name in the store; ``base`` is the frozen base.
            prompts: Token ids.
            paths: The address of each prompt's randomness.
            max_new_tokens: Longest completion, in tokens.
            temperature: 0 is greedy.

        Returns:
            One generation for each prompt, in order, with the version that made it.
        """
        ...

    def opening_logprobs(
        self, weights: str, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int]
    ) -> list[float]:
        """Return the log-probability that a completion begins with one of some tokens.

        It comes from the trainer's own model, at temperature 1.

        Args:
            weights: Their name in the store.
            prompts: Token ids.
            tokens: The tokens, each once.

        Returns:
            One for each prompt, nats.
        """
        ...

    def publish(self, weights: str) -> None:
        """Take note that named weights changed; from now on their new version is sampled from.

        Raises:
            RedteamError: If it cannot be shown that the new version is.
        """
        ...

    def rest(self) -> None:
        """Give memory free until the next completions: the trainer is about to compute."""
        ...

    def close(self) -> None:
        """Give back everything; nothing can be sampled afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HfBackend:
    """Samples with the trainer's own model in this process; nothing needs to be published.

    Attributes:
        store: Where the weights are.
        codec: Says which ids end a turn.
        batch: Sequences generated together; those of similar length are.
    """

    exact: ClassVar[bool] = True

    store: Store
    codec: ChatCodec
    batch: int

    def generate(
        self,
        weights: str,
        prompts: Sequence[tuple[int, ...]],
        paths: Sequence[Address],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Generation]:
        """Sample one completion for each prompt."""
        # equal prompts stand together: what they share is computed once
        order = sorted(range(len(prompts)), key=lambda k: (len(prompts[k]), prompts[k]))
        found: dict[int, Generation] = {}
        with self.store.sampling(weights) as model:
            lead = common_lead(model, prompts) if prompts else None
            for start in range(0, len(order), self.batch):
                chunk = order[start : start + self.batch]
                sampled = sample(
                    model,
                    [prompts[k] for k in chunk],
                    np.stack([generator(paths[k]).random(max_new_tokens) for k in chunk]),
                    stop_ids=sorted(self.codec.stop_ids),
                    pad_id=self.codec.pad_id,
                    temperature=temperature,
                    lead=lead,
                )
                for k, row in zip(chunk, sampled, strict=True):
                    found[k] = Generation(
                        prompt_ids=prompts[k],
                        completion_ids=row.ids,
                        logprobs=row.logprobs,
                        adapter=weights,
                        version=self.store.versions[weights],
                        temperature=temperature,
                        finished=row.finished,
                    )
        return [found[k] for k in range(len(prompts))]

    def opening_logprobs(
        self, weights: str, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int]
    ) -> list[float]:
        """Return the log-probability that a completion begins with one of some tokens."""
        with self.store.sampling(weights) as model:
            return opening_logprobs(model, prompts, tokens, pad_id=self.codec.pad_id)

    def publish(self, weights: str) -> None:
        """Do nothing: the next completion is sampled from the store's weights as they are."""

    def rest(self) -> None:
        """Do nothing: the model is the trainer's."""

    def close(self) -> None:
        """Do nothing."""


def check_backend(config: PolicyConfig) -> None:
    """Find out whether a policy's backend can be had, before its model is loaded.

    Raises:
        RedteamError: If vLLM is asked for and not installed.
    """
    if config.backend == "vllm" and find_spec("vllm") is None:
        raise RedteamError(
            "backend is 'vllm', but vLLM is not installed; pip install 'redteam-env[vllm]', or sample "
            "with --backend hf."
        )


def make_backend(config: PolicyConfig, store: Store, codec: ChatCodec) -> Backend:
    """Return the backend that a policy's configuration names.

    Raises:
        RedteamError: If an engine cannot be started or reached, or plays other weights than the
            store's.
    """
    if config.backend == "hf":
        return HfBackend(store=store, codec=codec, batch=config.generation_batch)
    # an engine's modules are imported by those who use it
    if config.backend == "vllm":
        from agents.lora.vllm_engine import start_engine  # noqa: PLC0415

        return start_engine(config, store, codec)
    from agents.lora.vllm_server import connect_servers  # noqa: PLC0415

    return connect_servers(config, store, codec)
