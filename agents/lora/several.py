"""Policies of roles that play on different base models, such as a judge's seat on a larger one.

Each base has a :class:`~agents.lora.policy.LoraPolicy` of its own, for the roles that play on it. What an
algorithm asks about a role, or about named weights, goes to the one that has them.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.lora.agent import ModelAgent
from agents.lora.cards import POLICY_FILE, read_card, read_policy
from agents.lora.config import PolicyConfig
from agents.lora.past import PastAgent
from agents.lora.policy import LoraPolicy, lora
from agents.lora.values import TokenValues
from redteam_env.game import Generation, RedteamError
from redteam_env.randomness import Address
from redteam_env.runs import POLICY, newest
from redteam_env.utils.files import verify_manifest


class SeveralBases:
    """Policies of roles on several base models.

    Args:
        config: The arrangement; ``config.models`` has the model of each role.
        seed: Seed of the adapters' initial weights.

    Attributes:
        config: The same.
        parts: The policies on each base, by the name of their folder in a checkpoint.
    """

    def __init__(self, config: PolicyConfig, *, seed: int) -> None:
        self.config = config
        self.parts: dict[str, LoraPolicy] = {}
        self._part: dict[str, str] = {}
        for number, (model, roles) in enumerate(config.models.items()):
            part = f"base-{number}"
            self._part |= dict.fromkeys(roles, part)
            self.parts[part] = lora(config.on(model, roles), seed=seed)
        self._holder = {name: part for part, own in self.parts.items() for name in own.names}

    def _of_role(self, role: str) -> LoraPolicy:
        return self.parts[self._part[role]]

    def _of(self, weights: str) -> LoraPolicy:
        return self.parts[self._holder[weights]]

    @property
    def trainable_roles(self) -> tuple[str, ...]:
        """The roles whose weights may change."""
        trained = {role for part in self.parts.values() for role in part.trainable_roles}
        return tuple(role for role in self.config.weights if role in trained)

    def weights_of(self, role: str) -> str:
        """Return the name of the weights behind a role."""
        return self._of_role(role).weights_of(role)

    @property
    def exact_sampler(self) -> bool:
        """Whether all completions come with the trainer's own log-probabilities."""
        return all(part.exact_sampler for part in self.parts.values())

    def parameters(self, weights: str) -> Sequence[torch.nn.Parameter]:
        """Return the trainable tensors of named weights, in a fixed order."""
        return self._of(weights).parameters(weights)

    def agent(self, role: str, *, temperature: float | None = None) -> ModelAgent:
        """Return the agent that plays a role with the current weights."""
        return self._of_role(role).agent(role, temperature=temperature)

    def logprobs(self, role: str, generations: Sequence[Generation], **options: Any) -> Any:
        """Return log-probabilities of completions with gradients to the role's weights."""
        return self._of_role(role).logprobs(role, generations, **options)

    def reference_logprobs(
        self, role: str, generations: Sequence[Generation], **options: Any
    ) -> Any:
        """Return log-probabilities under the reference of the role's own base."""
        return self._of_role(role).reference_logprobs(role, generations, **options)

    def value_parameters(self, role: str) -> Sequence[torch.nn.Parameter]:
        """Return the tensors of a role's value head."""
        return self._of_role(role).value_parameters(role)

    def values(self, role: str, generations: Sequence[Generation]) -> TokenValues:
        """Return the expected reward before each token, with gradients to the role's head only."""
        return self._of_role(role).values(role, generations)

    def encode_example(
        self,
        role: str,
        messages: Sequence[Mapping[str, str]],
        response: str,
        *,
        prefill: str = "",
    ) -> Generation:
        """Return a supervised example as tokens of the role's own base."""
        return self._of_role(role).encode_example(role, messages, response, prefill=prefill)

    def publish(self, weights: str) -> int:
        """Count an update of named weights and hand them to the sampler; return their new version."""
        return self._of(weights).publish(weights)

    def version(self, weights: str) -> int:
        """Return the version of named weights."""
        return self._of(weights).version(weights)

    def write_weights(self, weights: str, directory: Path) -> None:
        """Write named weights, with a card, into a new directory."""
        self._of(weights).write_weights(weights, directory)

    def read_weights(self, weights: str, directory: Path) -> None:
        """Put saved weights in the place of named ones, under a new version."""
        self._of(weights).read_weights(weights, directory)

    def breed_weights(
        self, weights: str, parents: Sequence[Path], *, noise: float, path: Address
    ) -> None:
        """Put a child of saved weights in the place of named ones, under a new version."""
        self._of(weights).breed_weights(weights, parents, noise=noise, path=path)

    def past_agent(self, role: str, directory: Path, *, weights: str, version: int) -> PastAgent:
        """Return the agent that plays a role with saved weights."""
        return self._of_role(role).past_agent(role, directory, weights=weights, version=version)

    def start_from(self, directory: Path) -> None:
        """Take the weights of every trained role from a run or a checkpoint.

        Raises:
            RedteamError: If there are none for a role, or they belong to another base or have another
                shape.
        """
        for part, inner in self._places(directory):
            part.start_from(inner or directory)

    def anchor_at(self, directory: Path | None) -> None:
        """Keep a frozen copy of weights as the reference that log-probabilities are compared with.

        Args:
            directory: A run or a checkpoint; ``None`` for the trained weights as they are now.

        Raises:
            RedteamError: As :meth:`start_from`.
        """
        for part, inner in self._places(directory):
            part.anchor_at(inner or directory)

    def _places(self, directory: Path | None) -> Iterator[tuple[LoraPolicy, Path | None]]:
        """Yield where the weights of the roles on each base lie in a run on several; ``None`` in others."""
        path = directory and newest(directory)
        if path is not None and (path / POLICY / POLICY_FILE).is_file():
            verify_manifest(path)
            path = path / POLICY
        card = read_policy(path) if path is not None and (path / POLICY_FILE).is_file() else {}
        for part in self.parts.values():
            if part.names:
                inner = card.get("parts", {}).get(part.trainable_roles[0])
                yield part, path / inner if path is not None and inner is not None else None

    def close(self) -> None:
        """Stop engines, or take adapters off servers."""
        for part in self.parts.values():
            part.close()

    @property
    def placement(self) -> str:
        """Where the weights are, and in what format, in words."""
        return "; ".join(dict.fromkeys(part.placement for part in self.parts.values()))

    def describe(self) -> dict[str, Any]:
        """Return what identifies the bases, and how many parameters are trained."""
        own = {name: part.describe() for name, part in self.parts.items()}
        prints = "\n".join(str(x["base_fingerprint"]) for x in own.values())
        return {
            "base_fingerprint": hashlib.sha256(prints.encode()).hexdigest(),
            "base_parameters": sum(x["base_parameters"] for x in own.values()),
            "trainable_parameters": {
                name: count
                for x in own.values()
                for name, count in x["trainable_parameters"].items()
            },
            "bases": {
                str(self.parts[name].config.model): str(x["base_fingerprint"])
                for name, x in own.items()
            },
        }

    def save(self, directory: Path) -> None:
        """Write all weights: the policies of each base in a folder of their own.

        Args:
            directory: A new folder.
        """
        directory.mkdir(parents=True)
        card = {
            "schema": 1,
            "arrangement": self.config.arrangement,
            "weights": dict(self.config.weights),
            "parts": self._part,
        }
        (directory / POLICY_FILE).write_text(json.dumps(card, indent=1), encoding="utf-8")
        for name, part in self.parts.items():
            part.save(directory / name)

    def restore(self, directory: Path) -> None:
        """Read weights back that :meth:`save` wrote for the same roles and bases.

        Raises:
            RedteamError: If they belong to other roles or bases, or do not fit.
        """
        card = read_card(directory / POLICY_FILE, ("parts",))
        if card["parts"] != self._part:
            raise RedteamError(
                f"{str(directory)!r} was trained with the roles {card['parts']} on its bases, not with "
                f"{self._part}; give those --roles and --bases, or another --out."
            )
        for name, part in self.parts.items():
            part.restore(directory / name)


def load(config: PolicyConfig, *, seed: int) -> LoraPolicy | SeveralBases:
    """Load the base model, or those of several roles, and put the arrangement's weights on it.

    Args:
        config: The arrangement, the models and the shape of adapters.
        seed: Seed of the adapters' initial weights.

    Returns:
        The policies of all roles.

    Raises:
        RedteamError: If a model cannot be loaded, has no chat template, or cannot carry adapters, or
            if the sampler is missing or plays something else.
    """
    if len(config.models) == 1:
        return lora(dataclasses.replace(config, bases=None), seed=seed)
    return SeveralBases(config, seed=seed)
