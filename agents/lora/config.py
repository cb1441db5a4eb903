"""What every trainable policy is made from: the arrangement of weights over roles, and LoRA's shape.

The names of arrangements and the defaults follow Self-RedTeam (arXiv 2506.07468; ``shared_full``
and the ablations) and Anchored Bipolicy Self-Play (arXiv 2605.08427; ``bipolicy``, rank 32 on all
linear layers). Alpha, targets, dropout and learning rates are not public for the latter; ours are
choices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from redteam_env.game import Count, RedteamError, above, at_least, between, check_fields
from redteam_env.protocols import BASE, TrainablePolicy
from redteam_env.utils.lists import listed

Arrangement = Literal[
    "bipolicy", "shared", "shared_full", "independent", "attacker_only", "defender_only"
]
Dtype = Literal["auto", "float32", "bfloat16"]
BackendName = Literal["hf", "vllm", "served"]
LARGEST_ENGINE_RANK = 512

WEIGHTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "bipolicy": {"attacker": "attacker", "defender": "defender"},
        "shared": {"attacker": "shared", "defender": "shared"},
        "shared_full": {"attacker": "shared", "defender": "shared"},
        "independent": {"attacker": "attacker", "defender": "defender"},
        "attacker_only": {"attacker": "attacker", "defender": BASE},
        "defender_only": {"attacker": BASE, "defender": "defender"},
    }
)
"""For each arrangement, the name of the weights behind each role; ``base`` is frozen."""

FULL = ("shared_full", "independent")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """A model and what of it is trained.

    Attributes:
        arrangement: Which weights play which role. bipolicy: one LoRA adapter a role on one frozen
            base. shared: one LoRA adapter for both. shared_full: one whole model for both.
            independent: one whole model a role. attacker_only, defender_only: one adapter, the
            other seat is the frozen base.
        model: smollm2, a local model directory, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct.
        revision: Branch, tag or commit of a hub model.
        rank: LoRA rank.
        alpha: LoRA alpha; by default twice the rank.
        targets: Modules that get an adapter, separated by commas; all-linear means every linear
            layer but the output head.
        dropout: LoRA dropout, in [0, 1).
        max_new_tokens: Longest completion, in tokens.
        max_prompt_tokens: Longest prompt, in tokens; longer text of players is cut.
        temperature: Sampling temperature; 0 is greedy.
        generation_batch: Sequences generated together.
        device: cpu, cuda, cuda:1, or auto (cuda where there is one).
        dtype: float32, bfloat16, or auto (bfloat16 for a base with adapters on a GPU, else float32).
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
        backend: Who samples completions. hf: the trainer's own model. vllm: an engine in this
            process, with a copy of the base. served: vLLM's servers at server_urls. Log-probabilities
            to train on are the trainer's in every case.
        server_urls: Addresses of the servers, separated by commas, such as
            http://127.0.0.1:8000,http://127.0.0.1:8001; each serves the same base.
        adapter_dir: Directory in which every version of an adapter is written for vLLM to read;
            servers must see it under the same path. By default a temporary one of this machine.
        allow_other_base: Put saved adapters on this base even if they were trained on, or name, another.
        kv_cache_gb: Memory for keys and values of the engine in this process, in GiB.
    """

    arrangement: Arrangement = "bipolicy"
    model: str = "smollm2"
    revision: str | None = None
    rank: Count = 32
    alpha: Count | None = None
    targets: str = "all-linear"
    dropout: Annotated[float, between(0, 1, below=True)] = 0.0
    max_new_tokens: Count = 48
    max_prompt_tokens: Count = 2048
    temperature: Annotated[float, at_least(0)] = 1.0
    generation_batch: Count = 64
    device: str = "auto"
    dtype: Dtype = "auto"
    gradient_checkpointing: bool = False
    backend: BackendName = "hf"
    server_urls: str | None = None
    adapter_dir: str | None = None
    allow_other_base: bool = False
    kv_cache_gb: Annotated[float, above(0)] = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.model.strip():
            raise RedteamError("model is empty; name smollm2, a model directory or a hub id.")
        self._check_backend()

    def _check_backend(self) -> None:
        if self.backend != "hf" and self.full:
            raise RedteamError(
                f"{self.arrangement} trains whole models, which backend {self.backend!r} cannot be "
                "given while it runs: it takes adapters. Sample with --backend hf, or train adapters "
                "with --arrangement bipolicy or shared."
            )
        if self.backend != "hf" and self.rank > LARGEST_ENGINE_RANK:
            raise RedteamError(
                f"rank is {self.rank}, but vLLM takes adapters up to rank {LARGEST_ENGINE_RANK}; lower "
                "it, or sample with --backend hf."
            )
        if self.backend == "served" and not self.servers:
            raise RedteamError(
                "backend is 'served', but server_urls names no server; give --server-urls "
                "http://HOST:PORT, several with a comma between them."
            )
        if self.backend != "served" and self.server_urls is not None:
            raise RedteamError(
                f"server_urls is {self.server_urls!r}, but backend is {self.backend!r}; give "
                "--backend served, or leave the addresses out."
            )

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses in ``server_urls``, each once."""
        return listed(self.server_urls)

    @property
    def weights(self) -> Mapping[str, str]:
        """The name of the weights behind each role."""
        return WEIGHTS[self.arrangement]

    @property
    def full(self) -> bool:
        """Whether whole models are trained instead of adapters."""
        return self.arrangement in FULL


def lora(config: PolicyConfig, *, seed: int) -> TrainablePolicy:
    """Load the base model and put the arrangement's weights on it (:func:`agents.lora.policy.lora`).

    The plug-in's entry point: torch, which the policies need, is imported when they are made, so that
    the settings can be read without it.
    """
    from agents.lora import policy  # noqa: PLC0415 - torch only where it is needed

    return policy.lora(config, seed=seed)


vars(lora)["Config"] = PolicyConfig
