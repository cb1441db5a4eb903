"""What every trainable policy is made from: the arrangement of weights over roles, and LoRA's shape.

The names of arrangements and the defaults follow Self-RedTeam (arXiv 2506.07468; ``shared_full``
and the ablations) and Anchored Bipolicy Self-Play (arXiv 2605.08427; ``bipolicy``, rank 32 on all
linear layers). Alpha, targets, dropout and learning rates are not public for the latter; ours are
choices.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

from redteam_env.game import (
    Count,
    RedteamError,
    above,
    at_least,
    between,
    check_fields,
    unknown_name,
)
from redteam_env.protocols import BASE, TrainablePolicy
from redteam_env.utils.lists import assigned, listed

Arrangement = Literal[
    "bipolicy", "shared", "shared_full", "independent", "attacker_only", "defender_only", "custom"
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
"""For each arrangement, the name of the weights behind each role; ``base`` is frozen. ``custom`` has none of its own."""

_NAME = re.compile("[a-z][a-z0-9_]*")

FULL = ("shared_full", "independent")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """A model and what of it is trained.

    Attributes:
        arrangement: Which weights play which role. bipolicy: one LoRA adapter a role on one frozen
            base. shared: one LoRA adapter for both. shared_full: one whole model for both.
            independent: one whole model a role. attacker_only, defender_only: one adapter, the
            other seat is the frozen base. custom: none but those of roles.
        roles: Weights of further roles, or others than the arrangement's, such as judge=judge for a
            judge's seat with weights of its own; judge=defender shares the defender's, judge=base is
            the frozen base.
        bases: Models of roles that play on another one than model, such as
            judge:Qwen/Qwen2.5-3B-Instruct; several with a comma between them.
        model: smollm2, tiny-random, a model directory, or a hub id such as
            Qwen/Qwen2.5-0.5B-Instruct.
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
            process, with a copy of the base. served: vLLM's servers at server_urls. Of whole models an
            engine, or a server, holds the one that plays. Log-probabilities to train on are the
            trainer's in every case.
        server_urls: Addresses of the servers, separated by commas, such as
            http://127.0.0.1:8000,http://127.0.0.1:8001; each serves the same base.
        adapter_dir: Directory in which every version of what is trained is written for vLLM to read, of
            whole models all their weights; servers must see it under the same path. By default a
            temporary one of this machine.
        allow_other_base: Put saved adapters on this base even if they were trained on, or name, another.
        kv_cache_gb: Memory for keys and values of the engine in this process, in GiB.
        KNOWN: Names of models that are made or fetched here.
    """

    KNOWN: ClassVar[tuple[str, ...]] = ("smollm2", "tiny-random")
    arrangement: Arrangement = "bipolicy"
    roles: str | None = None
    bases: str | None = None
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
        self._check_roles()
        self._check_backend()

    def _check_roles(self) -> None:
        if not self.weights:
            raise RedteamError(
                f"arrangement is {self.arrangement!r}, but no weights are named; give them as --roles "
                "attacker=attacker,defender=defender."
            )
        for role, name in self.weights.items():
            if not (_NAME.fullmatch(role) and _NAME.fullmatch(name)):
                raise RedteamError(
                    f"roles has {role}={name}; a role and its weights are words of lower-case letters, digits "
                    "and _, such as judge=judge."
                )
        models = self.models
        if len(models) == 1:
            return
        if self.full:
            raise RedteamError(
                f"bases is {self.bases!r}, but {self.arrangement} trains whole models; train adapters with "
                "--arrangement bipolicy."
            )
        for name in set(self.weights.values()) - {BASE}:
            if sum(any(self.weights[role] == name for role in x) for x in models.values()) > 1:
                raise RedteamError(
                    f"The weights {name!r} are to play roles on different bases ({self.bases!r}); give each "
                    "base weights of its own with --roles."
                )

    def _check_backend(self) -> None:
        if self.backend != "hf" and not self.full and self.rank > LARGEST_ENGINE_RANK:
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
        further = assigned(self.roles or "", option="roles", example="judge=judge")
        return {
            **WEIGHTS.get(self.arrangement, {}),
            **{role: str(name) for role, name in further.items()},
        }

    @property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The roles that play on each base model; the first is that of the first role."""
        own: dict[str, str] = {}
        for part in listed(self.bases):
            role, colon, model = part.partition(":")
            if role not in self.weights:
                raise unknown_name("role in bases", role, self.weights)
            if not (colon and model) or role in own:
                raise RedteamError(
                    f"bases has {part!r}; name each role once, with its model, such as judge:smollm2."
                )
            own[role] = model
        roles: dict[str, tuple[str, ...]] = {}
        for role in self.weights:
            model = own.get(role, self.model)
            roles[model] = (*roles.get(model, ()), role)
        return roles

    def on(self, model: str, roles: Sequence[str]) -> Self:
        """Return the settings of some roles that play on one model."""
        named = ",".join(f"{role}={self.weights[role]}" for role in roles)
        return replace(self, model=model, bases=None, arrangement="custom", roles=named)

    @property
    def full(self) -> bool:
        """Whether whole models are trained instead of adapters."""
        return self.arrangement in FULL


def lora(config: PolicyConfig, *, seed: int) -> TrainablePolicy:
    """Load the base models and put the arrangement's weights on them (:func:`agents.lora.several.load`).

    The plug-in's entry point: torch, which the policies need, is imported when they are made, so that
    the settings can be read without it.
    """
    from agents.lora import several  # noqa: PLC0415 - torch only where it is needed

    return several.load(config, seed=seed)


vars(lora)["Config"] = PolicyConfig
