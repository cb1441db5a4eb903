"""The trainable policies of both roles: an arrangement of weights over one store.

Everything an algorithm needs and nothing of how the weights are held: names of the weights behind a
role, their tensors, log-probabilities under them and under the frozen reference (the base with
adapters off, for whole models a frozen copy, or an adapter that was kept as the anchor).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch

from agents.lora.agent import ModelAgent
from agents.lora.backend import check_backend, make_backend
from agents.lora.cards import POLICY_FILE, check_base, read_policy
from agents.lora.chat import ChatCodec
from agents.lora.config import PolicyConfig
from agents.lora.hf import completion_logprobs
from agents.lora.logprobs import TokenLogprobs
from agents.lora.past import SavedWeights, anchor_name
from agents.lora.probe import check_model
from agents.lora.store import (
    AdapterStore,
    FullStore,
    Store,
    lora_config,
    twice_differentiable,
)
from agents.lora.values import TokenValues, ValueHeads
from agents.models import LoadedModel, count_parameters, first_line, load_base
from redteam_env.game import Generation, RedteamError, unknown_name
from redteam_env.protocols import BASE, Derivatives
from redteam_env.randomness import integer_seed


class LoraPolicy(SavedWeights):
    """Policies of both roles in one arrangement.

    Args:
        config: The arrangement, the model and the shape of adapters.
        base: The loaded model.
        seed: Seed of the adapters' initial weights.
    """

    def __init__(self, config: PolicyConfig, base: LoadedModel, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.codec = make_codec(base, config)
        check_model(base, config)
        self.names = tuple(dict.fromkeys(x for x in config.weights.values() if x != BASE))
        self.store: Store
        if config.full:
            self.store = FullStore(base, self.names)
        else:
            adapters = AdapterStore(base)
            for name in self.names:
                adapter_seed = integer_seed((seed, "adapter", name))
                adapters.add(name, lora_config(config), seed=adapter_seed)
            self.store = adapters
        self._heads = ValueHeads(base.model)
        if config.gradient_checkpointing:
            for name in self.names:
                with self.store.using(name) as model:
                    _recompute_activations(model)
                    model.enable_input_require_grads()
        self.backend = make_backend(config, self.store, self.codec)
        self._publish_all()

    @property
    def trainable_roles(self) -> tuple[str, ...]:
        """The roles whose weights may change."""
        return tuple(role for role, name in self.config.weights.items() if name != BASE)

    def weights_of(self, role: str) -> str:
        """Return the name of the weights behind a role."""
        return self.config.weights[role]

    @property
    def exact_sampler(self) -> bool:
        """Whether completions come with the trainer's own log-probabilities, up to float32 rounding.

        The trainer's own model samples token by token, with cached prompts and folded weights. In
        float32 that has been seen to move log-probabilities by 1e-6 on average and 1e-5 at most, in
        bfloat16 by 5e-3 and 0.1.
        """
        return self.backend.exact and self.store.base.model.dtype == torch.float32

    def parameters(self, weights: str) -> Sequence[torch.nn.Parameter]:
        """Return the trainable tensors of named weights, in a fixed order."""
        return self.store.parameters(weights)

    def agent(self, role: str, *, temperature: float | None = None) -> ModelAgent:
        """Return the agent that plays a role with the current weights."""
        return ModelAgent(
            backend=self.backend,
            weights=self.weights_of(role),
            codec=self.codec,
            max_new_tokens=self.config.max_new_tokens,
            temperature=self.config.temperature if temperature is None else temperature,
        )

    def logprobs(
        self,
        role: str,
        generations: Sequence[Generation],
        *,
        with_entropy: bool = False,
        with_distribution: bool = False,
        differentiable: Derivatives = "once",
    ) -> TokenLogprobs:
        """Return log-probabilities of completions with gradients to the role's weights."""
        if differentiable not in get_args(Derivatives):
            raise unknown_name("value of differentiable", differentiable, get_args(Derivatives))
        self.backend.rest()
        twice = differentiable == "twice"
        with self._learning(self.weights_of(role), twice=twice) as model:
            return completion_logprobs(
                model,
                generations,
                pad_id=self.codec.pad_id,
                entropy="gradient" if with_entropy else "value",
                with_distribution=with_distribution,
                twice=twice,
            )

    @contextmanager
    def _learning(self, name: str, *, twice: bool) -> Iterator[Any]:
        """Yield the model that log-probabilities come from; it drops out only where it learns."""
        dropout, checkpointing = self.config.dropout > 0, self.config.gradient_checkpointing
        if twice:
            with (
                self.store.using(name, train=dropout and torch.is_grad_enabled()) as model,
                twice_differentiable(model),
            ):
                yield model
        elif (dropout or checkpointing) and torch.is_grad_enabled():
            with self.store.using(name, train=True) as model:
                yield model
        else:
            with self.store.learning(name) as model:
                yield model

    @torch.no_grad()
    def reference_logprobs(
        self,
        role: str,
        generations: Sequence[Generation],
        *,
        with_distribution: bool = False,
    ) -> TokenLogprobs:
        """Return log-probabilities under the role's anchor, or the frozen base if there is none."""
        self.backend.rest()
        anchor = anchor_name(self.weights_of(role))
        # as the trained weights' own are computed, so that equal weights have equal ones
        with self.store.learning(anchor if anchor in self.store.versions else BASE) as model:
            return completion_logprobs(
                model,
                generations,
                pad_id=self.codec.pad_id,
                with_distribution=with_distribution,
            )

    def value_parameters(self, role: str) -> Sequence[torch.nn.Parameter]:
        """Return the tensors of a role's value head."""
        return list(self._heads.head(role).parameters())

    def values(self, role: str, generations: Sequence[Generation]) -> TokenValues:
        """Return the expected reward before each token, with gradients to the role's head only."""
        self.backend.rest()
        with self.store.sampling(self.weights_of(role)) as model:
            return self._heads.values(role, model, generations, pad_id=self.codec.pad_id)

    def encode_example(
        self,
        role: str,
        messages: Sequence[Mapping[str, str]],
        response: str,
        *,
        prefill: str = "",
    ) -> Generation:
        """Return a supervised example as tokens.

        Args:
            role: The role that is to give the response.
            messages: The chat messages it is prompted with.
            response: What it should say after the prefill; cut to ``max_new_tokens``.
            prefill: Text that the answer starts with in a game.

        Returns:
            A generation with log-probabilities of 0 that ends with the stop token; not ``finished`` if it
            was cut.

        Raises:
            RedteamError: If the response has no token.
        """
        ids = self.codec.content_ids(response)
        if not ids:
            raise RedteamError(f"The response {response!r} has no token; leave this example out.")
        completion = (*ids[: self.config.max_new_tokens], self.codec.end_id)
        return Generation(
            prompt_ids=self.codec.encode(messages, prefill, answer=True),
            completion_ids=completion,
            logprobs=(0.0,) * len(completion),
            adapter=self.weights_of(role),
            version=0,
            temperature=self.config.temperature,
            finished=len(ids) <= self.config.max_new_tokens,
        )

    def publish(self, weights: str) -> int:
        """Count an update of named weights and hand them to the sampler; return their new version.

        Raises:
            RedteamError: If the sampler cannot be shown to play them.
        """
        self.store.versions[weights] += 1
        self.backend.publish(weights)
        return self.store.versions[weights]

    def close(self) -> None:
        """Stop the engine in this process, or take the adapters off the servers."""
        self.backend.close()

    def _publish_all(self) -> None:
        for name in self.names:
            self.backend.publish(name)

    @property
    def placement(self) -> str:
        """Where the weights are, and in what format, in words."""
        model = self.store.base.model
        return f"{model.device}, {str(model.dtype).removeprefix('torch.')}"

    def describe(self) -> dict[str, Any]:
        """Return what identifies the base, and how many parameters are trained."""
        trainable = {
            name: sum(parameter.numel() for parameter in self.store.parameters(name))
            for name in self.names
        }
        return {
            "base_fingerprint": self.store.base.fingerprint,
            "base_parameters": count_parameters(self.store.base.model),
            "trainable_parameters": trainable,
        }

    def save(self, directory: Path) -> None:
        """Write all weights with what is needed to load them elsewhere.

        Args:
            directory: A new folder; each weights' name becomes a folder in it.
        """
        directory.mkdir(parents=True)
        card = {
            "schema": 1,
            "arrangement": self.config.arrangement,
            "model": self.store.base.spec,
            "revision": self.config.revision,
            "base_fingerprint": self.store.base.fingerprint,
            "weights": dict(self.config.weights),
            "full": self.config.full,
            "versions": {name: self.store.versions[name] for name in self.names},
        }
        anchors = [x for x in map(anchor_name, self.names) if x in self.store.versions]
        if anchors:
            card["anchored"] = True
        (directory / POLICY_FILE).write_text(json.dumps(card, indent=1), encoding="utf-8")
        for name in (*self.names, *anchors):
            self.write_weights(name, directory / name)
        self._heads.save(directory)

    def restore(self, directory: Path) -> None:
        """Read weights back that :meth:`save` wrote for the same arrangement and base.

        Args:
            directory: The folder.

        Raises:
            RedteamError: If they belong to another base or arrangement, or do not fit.
        """
        card = read_policy(directory, "arrangement", "versions")
        check_base(directory, card, self.store.base)
        if card["arrangement"] != self.config.arrangement:
            raise RedteamError(
                f"{str(directory)!r} was trained as {card['arrangement']!r}, not as "
                f"{self.config.arrangement!r}; give that --arrangement or another --out."
            )
        if card["weights"] != self.config.weights:
            raise RedteamError(
                f"{str(directory)!r} was trained with {card['weights']} as the weights of its roles, not "
                f"with {self.config.weights}; give those --roles or another --out."
            )
        for name in self.names:
            self.store.restore(name, directory / name)
            self.store.versions[name] = int(card["versions"][name])
        if card.get("anchored"):
            self.load_anchors({name: directory / anchor_name(name) for name in self.names})
        self._heads.restore(directory)
        self._publish_all()


def make_codec(base: LoadedModel, config: PolicyConfig) -> ChatCodec:
    """Return the codec of a model, with a prompt limit that its context can hold.

    Raises:
        RedteamError: If the model's context is too short for the completions asked for, or its tokenizer
            or chat template cannot carry the game.
    """
    shape = base.model.config.get_text_config(decoder=True)
    context = getattr(shape, "max_position_embeddings", None)
    limit, too_long = config.max_prompt_tokens, ""
    if context is not None and context - config.max_new_tokens < limit:
        limit = context - config.max_new_tokens
        if limit < 1:
            raise RedteamError(
                f"max_new_tokens = {config.max_new_tokens} leaves no room for a prompt in the "
                f"context of {context} tokens of {base.spec!r}; lower it."
            )
        too_long = (
            f"{limit} tokens, which the context of {context} tokens of {base.spec!r} leaves beside "
            f"max_new_tokens = {config.max_new_tokens}. The model's context is the limit: shorten the "
            "prompts, lower max_new_tokens, or use a model with a longer context."
        )
    try:
        return ChatCodec(
            base.tokenizer,
            stop_ids=base.stop_ids,
            max_prompt_tokens=limit,
            too_long=too_long,
            rows=base.model.get_input_embeddings().weight.shape[0],
        )
    except RedteamError:
        raise
    except Exception as error:  # tokenizers fail with classes of their own on what their files say
        raise RedteamError(
            f"The tokenizer of {base.spec!r} cannot be used: {first_line(error)} Get the model again, or "
            "correct its tokenizer_config.json."
        ) from error


def lora(config: PolicyConfig, *, seed: int) -> LoraPolicy:
    """Load the base model and put the arrangement's weights on it.

    Adapters are float32 on a base of any format. Whole models are trained in the format they are
    loaded in, so ``auto`` means float32 for them: steps of 5e-7 vanish when added in bfloat16.

    Args:
        config: The arrangement, the model and the shape of adapters.
        seed: Seed of the adapters' initial weights.

    Returns:
        The policies of both roles.

    Raises:
        RedteamError: If the model cannot be loaded, has no chat template, or cannot carry adapters, or
            if the sampler is missing or plays something else.
    """
    check_backend(config)
    dtype = "float32" if config.full and config.dtype == "auto" else config.dtype
    base = load_base(config.model, revision=config.revision, device=config.device, dtype=dtype)
    return LoraPolicy(config, base, seed=seed)


def _recompute_activations(model: Any) -> None:
    """Let a model compute activations again on its way back instead of keeping them."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # not in transformers 5.17
    enable = newer or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
