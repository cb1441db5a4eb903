"""The weights of a checkpoint, and how each is written for others: an adapter, a merged model, a whole one."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.lora.adapter_config import ADAPTER_CONFIG, read_config
from agents.lora.adapters import ADAPTER_WEIGHTS, Adaptable, SavedAdapter, read_adapter
from agents.lora.cards import POLICY_FILE, check_base, read_policy
from agents.lora.store import read_tensors
from agents.models import KNOWN, LoadedModel, load_base, load_tokenizer, quiet, stored_dtype
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.runs import POLICY, newest
from redteam_env.trust import allow_place, check_links
from redteam_env.utils.files import read_json, verify_manifest

_MODEL_FILES = (
    *("config.json", "generation_config.json", "chat_template.jinja", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
    *("*.safetensors", "*.safetensors.index.json"),
)
"""What of a whole model's folder is copied; the card that this library keeps there is for itself."""
_PLACES = ("_name_or_path", "name_or_path")
"""Keys of transformers' files that may tell where a model lay on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Trained weights in a checkpoint.

    Attributes:
        name: Their name in the run.
        roles: The roles that they play.
        place: Their folder.
        model: The base, as the run named it.
        revision: The base's revision, if one was named.
        card: What was saved of the policy that they belong to.
    """

    name: str
    roles: tuple[str, ...]
    place: Path
    model: str
    revision: str | None
    card: dict[str, Any]

    @property
    def full(self) -> bool:
        """Whether they are a whole model."""
        return bool(self.card["full"])

    @property
    def fingerprint(self) -> str:
        """What identifies the base's weights (:func:`agents.models.fingerprint`)."""
        return str(self.card["base_fingerprint"])

    def load_base(self) -> LoadedModel:
        """Return the base in float32, compared with the one that they were trained on.

        Raises:
            RedteamError: If it cannot be loaded, is another one, or is named by a stranger's file only.
        """
        self._allow()
        base = load_base(self.model, revision=self.revision, device="cpu", dtype="float32")
        check_base(self.place, self.card, base)
        return base

    def tokenizer(self) -> Any:
        """Return the base's tokenizer, without loading its weights.

        Raises:
            RedteamError: As :meth:`load_base`.
        """
        self._allow()
        return load_tokenizer(self.model, revision=self.revision)

    def _allow(self) -> None:
        if self.model not in KNOWN:
            allow_place(self.model, holder=self.place, option="model")


def checkpoint_of(place: Path) -> Path:
    """Return the checkpoint that a run directory, or a checkpoint itself, stands for, verified.

    Raises:
        RedteamError: If it holds no weights that can be exported, or a file of it was altered.
    """
    if not place.expanduser().is_dir():
        raise RedteamError(f"There is no directory {str(place)!r}; name a run or a checkpoint.")
    check_links(place.expanduser())
    path = newest(place)
    if not (path / POLICY / POLICY_FILE).is_file():
        raise RedteamError(
            f"{str(place)!r} holds no weights of a language model; name a run of redteam-env train, or one "
            "of its checkpoints."
        )
    verify_manifest(path)
    return path


def saved_weights(checkpoint: Path, roles: Sequence[str]) -> list[Weights]:
    """Return the weights of a checkpoint that play some roles.

    Args:
        checkpoint: The checkpoint.
        roles: The roles; none for all that were trained.

    Raises:
        RedteamError: If one was not trained.
    """
    whole = read_policy(checkpoint / POLICY)
    trained = [role for role, name in whole["weights"].items() if name != BASE]
    if missing := [role for role in roles if role not in trained]:
        raise RedteamError(
            f"{str(checkpoint)!r} has no trained weights for the role {missing[0]!r}; it has them for "
            f"{', '.join(trained)}."
        )
    found: dict[Path, Weights] = {}
    for role in roles or trained:
        folder = checkpoint / POLICY
        if "parts" in whole:
            folder /= whole["parts"][role]
        card = read_policy(folder, "full", "model", "revision", "base_fingerprint")
        place = folder / card["weights"][role]
        before = found[place].roles if place in found else ()
        found[place] = Weights(
            name=place.name,
            roles=(*before, role),
            place=place,
            model=card["model"],
            revision=card["revision"],
            card=card,
        )
    return list(found.values())


def write_adapter(weights: Weights, out: Path, *, base: str, revision: str | None) -> int:
    """Write an adapter as PEFT reads it; return its rank.

    Args:
        weights: The weights.
        out: A folder that is there.
        base: What others call the base.
        revision: Its revision.

    Raises:
        RedteamError: If it is no plain LoRA adapter, or has numbers that are not finite.
    """
    config = read_config(weights.place)
    read_tensors(weights.place / ADAPTER_WEIGHTS)
    record = read_json(weights.place / ADAPTER_CONFIG, remedy="Restore it.")
    record |= {"base_model_name_or_path": base, "revision": revision}
    _write_json(out / ADAPTER_CONFIG, record)
    shutil.copyfile(weights.place / ADAPTER_WEIGHTS, out / ADAPTER_WEIGHTS)
    return config.rank


def write_merged(weights: Weights, base: LoadedModel, out: Path) -> None:
    """Write the base with an adapter folded in, in the number format that the base is stored in.

    Args:
        weights: The adapter.
        base: Its base, in float32, which is changed.
        out: A folder that is there.

    Raises:
        RedteamError: If the adapter does not fit the base, or cannot be folded into it.
    """
    merge(base.model, read_adapter(weights.place, Adaptable(base.model)))
    base.model.to(stored_dtype(weights.model, revision=weights.revision))
    write_model(base.model, out)


def write_model(model: Any, out: Path) -> None:
    """Write a model as transformers reads it, without where it was."""
    with quiet():
        model.save_pretrained(out)
    _clean(out)


@torch.no_grad()
def merge(model: Any, adapter: SavedAdapter) -> None:
    """Add ``alpha / rank * B A`` to each layer's weight, computed in float64.

    Raises:
        RedteamError: If a layer's weight is shared with another layer, or holds no floating-point numbers.
    """
    for name, factors in adapter.layers.items():
        module = model.get_submodule(name)
        weight = module.weight
        sharing = [x for x, m in model.named_modules() if getattr(m, "weight", None) is weight]
        if not weight.is_floating_point() or len(sharing) > 1:
            cause = "is quantised" if len(sharing) == 1 else f"is that of {sharing} at once"
            raise RedteamError(
                f"The adapter in {str(adapter.directory)!r} cannot be merged: the weight of {name!r} {cause}. "
                "Leave --merge out."
            )
        added = factors.alpha / factors.rank * (factors.b.double() @ factors.a.double())
        # embeddings and transformers' Conv1D hold their weight transposed
        added = added if type(module) is torch.nn.Linear else added.T
        weight.copy_(weight.double() + added)


def copy_model(weights: Weights, out: Path) -> None:
    """Copy a whole model with its tokenizer, without where it was.

    Raises:
        RedteamError: If a file of tensors cannot be read.
    """
    for pattern in _MODEL_FILES:
        for file in sorted(weights.place.glob(pattern)):
            if file.suffix == ".safetensors":
                read_tensors(file)
            shutil.copyfile(file, out / file.name)
    _clean(out)


def write_tokenizer(tokenizer: Any, out: Path, *, texts: Sequence[str]) -> None:
    """Write a tokenizer, and see whether transformers loads the same one again.

    Args:
        tokenizer: The tokenizer.
        out: A folder that is there.
        texts: What must have the same ids afterwards.

    Raises:
        RedteamError: If it does not.
    """
    with quiet():
        tokenizer.save_pretrained(out)
    _clean(out)
    again = load_tokenizer(str(out))
    same = all(again(text)["input_ids"] == tokenizer(text)["input_ids"] for text in texts)
    if not same or again.chat_template != tokenizer.chat_template:
        raise RedteamError(
            "The tokenizer cannot be exported: transformers loads another one from what it writes "
            f"({type(tokenizer).__name__} became {type(again).__name__}). Give the base a tokenizer.json."
        )


def _clean(folder: Path) -> None:
    """Take places of this machine out of transformers' own files."""
    for file in folder.glob("*config.json"):
        record = read_json(file, remedy="Restore it.")
        if isinstance(record, dict) and file.name != ADAPTER_CONFIG:
            _write_json(file, {k: x for k, x in record.items() if k not in _PLACES})


def _write_json(file: Path, record: Any) -> None:
    file.write_text(f"{json.dumps(record, indent=2)}\n", encoding="utf-8")
