"""What a policy does with saved weights: play with them, start from them, breed them.

One spare place in the store serves all saved versions: a version is read into it when it is to move. So
a league of any length holds one base and one adapter (of whole models: one model) more in memory than
self-play.
"""

import dataclasses
import json
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from agents.lora.adapter_config import ADAPTER_CONFIG
from agents.lora.adapters import ADAPTER_WEIGHTS, base_kept, check_named_base
from agents.lora.agent import ModelAgent
from agents.lora.cards import POLICY_FILE, WEIGHTS_FILE, read_policy
from agents.lora.config import PolicyConfig
from agents.lora.store import Store, read_tensors
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE, Reply, TurnRequest
from redteam_env.randomness import Address, generator, integer_seed
from redteam_env.runs import POLICY, newest
from redteam_env.utils.files import verify_manifest

SPARE = "spare"


def anchor_name(weights: str) -> str:
    """Return the name of the frozen reference of trained weights, in the store and on disk."""
    return f"anchor-{weights}"


class SavedWeights(ABC):
    """The part of a policy that reads and writes saved weights.

    Attributes:
        config: The arrangement, the model and the shape of adapters.
        names: The names of the trained weights.
        store: Where they are.
    """

    config: PolicyConfig
    names: tuple[str, ...]
    store: Store

    def __init__(self) -> None:
        self._spare = Spare()

    @abstractmethod
    def agent(self, role: str, *, temperature: float | None = None) -> ModelAgent:
        """Return the agent that plays a role with the current weights."""

    @abstractmethod
    def publish(self, weights: str) -> int:
        """Count an update of named weights; return their new version."""

    def version(self, weights: str) -> int:
        """Return the version of named weights."""
        return self.store.versions[weights]

    def write_weights(self, weights: str, directory: Path) -> None:
        """Write named weights, with a card, into a new directory."""
        self.store.save(weights, directory)
        card = {
            "schema": 1,
            "model": self.store.base.spec,
            "revision": self.config.revision,
            "base_fingerprint": self.store.base.fingerprint,
            "name": weights,
            "version": self.store.versions[weights],
        }
        (directory / WEIGHTS_FILE).write_text(json.dumps(card, indent=1), encoding="utf-8")

    def read_weights(self, weights: str, directory: Path) -> None:
        """Put saved weights in the place of named ones, under a new version.

        Raises:
            RedteamError: If they belong to another base or have another shape or scale.
        """
        self._check(directory)
        self.store.restore(weights, directory)
        self.publish(weights)

    def breed_weights(
        self, weights: str, parents: Sequence[Path], *, noise: float, path: Address
    ) -> None:
        """Put a child of saved weights in the place of named ones, under a new version."""
        files = ADAPTER_WEIGHTS if not self.config.full else "*.safetensors"
        found = []
        for parent in parents:
            self._check(parent)
            tensors: dict[str, torch.Tensor] = {}
            for file in sorted(parent.glob(files)):
                tensors |= read_tensors(file)
            found.append(tensors)
        child = breed(found, noise=noise, path=path)
        with tempfile.TemporaryDirectory() as folder:
            save_file(child, Path(folder) / ADAPTER_WEIGHTS)
            if not self.config.full:
                shutil.copy(parents[0] / ADAPTER_CONFIG, folder)
            self.store.restore(weights, Path(folder))
        self.publish(weights)

    def past_agent(self, role: str, directory: Path, *, weights: str, version: int) -> "PastAgent":
        """Return the agent that plays a role with saved weights; its games are recorded as theirs."""
        self._check(directory)
        self.store.spare(SPARE, like=self.names[0])
        agent = dataclasses.replace(self.agent(role), weights=SPARE)
        return PastAgent(
            agent=agent,
            store=self.store,
            directory=directory,
            spare=self._spare,
            weights=weights,
            version=version,
        )

    def anchor_at(self, directory: Path | None) -> None:
        """Keep a frozen copy of weights as the reference that log-probabilities are compared with.

        Args:
            directory: A run, a checkpoint or one adapter, of any rank; ``None`` for the trained weights
                as they are now.

        Raises:
            RedteamError: If whole models are trained, or as :meth:`start_from`.
        """
        if self.config.full:
            raise RedteamError(
                f"{self.config.arrangement!r} trains whole models, whose reference is the model itself: "
                "name the one to be compared with as --model, and leave the anchor out."
            )
        if directory is None:
            with tempfile.TemporaryDirectory() as folder:
                for name in self.names:
                    self.store.save(name, Path(folder) / name)
                self.load_anchors({name: Path(folder) / name for name in self.names})
            return
        found = self._sources(directory)
        for source in found.values():
            self._check(source)
        self.load_anchors(found)

    def load_anchors(self, places: Mapping[str, Path]) -> None:
        """Read the references of trained weights, by the names of these, from adapters' directories."""
        for name, place in places.items():
            self.store.freeze(anchor_name(name), place)

    def start_from(self, directory: Path) -> None:
        """Take the weights of every trained role from a run, a checkpoint or one adapter.

        Raises:
            RedteamError: If there are none for a role, or they belong to another base or have another
                shape.
        """
        found = self._sources(directory)
        with base_kept(self.store.base, directory):
            for name, source in found.items():
                self.read_weights(name, source)

    def _sources(self, place: Path) -> dict[str, Path]:
        """Return for each trained weights the directory that they start from."""
        path = newest(place)
        if (path / POLICY / POLICY_FILE).is_file():
            verify_manifest(path)
            path = path / POLICY
        if not (path / POLICY_FILE).is_file():
            adapter = (path / ADAPTER_CONFIG).is_file()
            if adapter and self.config.full:
                raise RedteamError(
                    f"{str(place)!r} holds an adapter, but {self.config.arrangement!r} trains whole models, "
                    "which start from whole models; train adapters with --arrangement bipolicy or shared."
                )
            if adapter or (path / WEIGHTS_FILE).is_file():
                return dict.fromkeys(self.names, path)
            raise RedteamError(
                f"{str(place)!r} holds no weights to start from; name a run, a checkpoint or an adapter "
                "directory."
            )
        card = read_policy(path, "full", "arrangement")
        if bool(card["full"]) != self.config.full:
            raise RedteamError(
                f"{str(place)!r} was trained as {card['arrangement']!r}: its weights do not fit "
                f"{self.config.arrangement!r}. Whole models start from whole models, adapters from "
                "adapters."
            )
        result: dict[str, Path] = {}
        for role, name in self.config.weights.items():
            source = card["weights"].get(role)
            if name == BASE:
                continue
            if source in (None, BASE):
                raise RedteamError(
                    f"{str(place)!r} has no trained weights for the {role}; name another run, or an "
                    "adapter directory."
                )
            if result.setdefault(name, path / source) != path / source:
                raise RedteamError(
                    f"{str(place)!r} has weights of its own for each role, but {name!r} is one for "
                    "both; name the adapter to start from."
                )
        return result

    def _check(self, directory: Path) -> None:
        """Refuse weights of another base."""
        if (directory / WEIGHTS_FILE).is_file() or not self.config.full:
            allow = self.config.allow_other_base
            check_named_base(directory, self.store.base, allow_other=allow)


@dataclasses.dataclass(slots=True)
class Spare:
    """What a policy's spare place holds.

    Attributes:
        holds: The directory that was read into it last; saved weights never change.
    """

    holds: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastAgent:
    """Plays with saved weights, which are read into a spare place when it is to move.

    Attributes:
        agent: Plays with whatever is in that place.
        store: Where the place is.
        directory: The saved weights.
        spare: What is in that place.
        weights: Their name, for the records of games.
        version: Their version, for the same.
    """

    agent: ModelAgent
    store: Store
    directory: Path
    spare: "Spare"
    weights: str
    version: int

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        if self.spare.holds != self.directory:
            self.spare.holds = None  # should reading fail half-way
            self.store.restore(SPARE, self.directory)
            self.store.versions[SPARE] += 1
            self.agent.backend.publish(SPARE)
            self.spare.holds = self.directory
        return [self._named(reply) for reply in self.agent.act(requests)]

    def _named(self, reply: Reply) -> Reply:
        if reply.generation is None:
            return reply
        generation = dataclasses.replace(
            reply.generation, adapter=self.weights, version=self.version
        )
        return dataclasses.replace(reply, generation=generation)


def breed(
    parents: Sequence[Mapping[str, torch.Tensor]], *, noise: float, path: Address
) -> dict[str, torch.Tensor]:
    """Return a child of weights of one shape: crossover by layer, then mutation.

    A layer comes whole from one parent, drawn with equal chances: the two factors of an adapter mean
    something together only. Then ``noise * rms(t) * N(0, 1)`` is added to each tensor ``t``; what is
    all zeros stays so. (Ours: PopuLoRA, arXiv 2605.16727, breeds adapters, but its operators were not
    available to us.)

    Args:
        parents: One or more, with the same names and shapes.
        noise: Standard deviation in units of each tensor's root mean square.
        path: Address of the randomness.

    Raises:
        RedteamError: If the names or shapes differ.
    """
    first = parents[0]
    for tensors in parents[1:]:
        if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in first.items()}:
            raise RedteamError("Weights of different shapes have no children.")
    layers = sorted({_layer(key) for key in first})
    chosen = generator((*path, "parents")).integers(len(parents), size=len(layers))
    source = dict(zip(layers, chosen, strict=True))
    draws = torch.Generator().manual_seed(integer_seed((*path, "noise")))
    child = {}
    for key in sorted(first):
        tensor = parents[int(source[_layer(key)])][key].detach().cpu()
        normal = torch.randn(tensor.shape, generator=draws, dtype=torch.float32)
        scale = noise * tensor.float().pow(2).mean().sqrt()
        child[key] = (tensor.float() + scale * normal).to(tensor.dtype).contiguous()
    return child


def _layer(key: str) -> str:
    """Return the name of a tensor's layer: what stands before a factor's name, or its own last word."""
    return re.sub(r"\.(lora_\w+\b.*|[^.]+)$", "", key)
