"""The schema of ``adapter_config.json``: what is read of one that others wrote, and what is refused.

:func:`read_config` is the first half of the gate for adapters (:mod:`agents.lora.adapters`). Entries that
plain LoRA cannot follow are refused with their meaning, unknown ones unless they are off. Names of layers
are literal: PEFT would compile them as regular expressions. Names of code are never imported.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from redteam_env.game import RedteamError
from redteam_env.utils.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
MOST_RANK = 4096
MOST_ALPHA = 2.0**20
_MOST_CONFIG_BYTES = 2**24
_MOST_NAME = 500
_MOST_SHOWN = 200
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ALL_LINEAR = "all-linear"
_PLAIN = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""Initialisations that leave the base alone: the saved factors are all that there is."""
_TAKEN_OUT = ("pissa", "olora")
"""Initialisations with factors of the base's own weights, which can be computed again."""
_READ = frozenset(
    {
        *("peft_type", "task_type", "base_model_name_or_path", "revision", "auto_mapping", "bias"),
        *("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
        "megatron_core",
    }
)
_OF_TRAINING = frozenset(
    {
        *("peft_version", "inference_mode", "runtime_config", "lora_dropout", "fan_in_fan_out"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"),
    }
)
"""Settings that change nothing of what a saved adapter computes; not read."""
_CAUSES = {
    "use_dora": "it is a DoRA adapter, which also rescales the base's weights",
    "modules_to_save": "it trains whole modules of the base",
    "trainable_token_indices": "it trains embeddings of the base",
    "target_parameters": "it adapts parameters that belong to no layer of their own",
    "lora_bias": "it adds biases",
    "layer_replication": "it repeats layers of the base",
    "alora_invocation_tokens": "it is an aLoRA adapter, which counts from a token on only",
    "megatron_config": "it was made for Megatron's layers",
}
"""What settings mean that plain LoRA cannot do."""
REMEDY = "Export the adapter as plain LoRA, or merge it into its base and name that model."
"""What to do about an adapter that plain LoRA cannot hold."""

Start = Literal["plain", "pissa", "olora"]


T = TypeVar("T", int, float)
ByName = Mapping[str, tuple[int, T]]
"""Values by names of layers, each with its place in the order: of several that match the first counts. A
name stands for all layers that end with it after a dot, behind ``^`` for the one that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """What is used of an ``adapter_config.json``.

    Attributes:
        rank: Rank of layers that ``ranks`` does not name.
        alpha: The same of alpha.
        rslora: Whether alpha counts by the root of the rank.
        start: What the factors began with.
        targets: Names of the layers that have factors; ``None`` for all linear ones but the head.
        excluded: Names of layers that have none all the same.
        blocks: Numbers of the blocks whose layers have factors; ``None`` for all.
        stacks: Names of the lists that the blocks are in; none for any.
        ranks: Ranks of named layers.
        alphas: Alphas of named layers.
        base: The base that it names.
        revision: The revision of the base that it names.
    """

    rank: int
    alpha: float
    rslora: bool = False
    start: Start = "plain"
    targets: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    blocks: frozenset[int] | None = None
    stacks: tuple[str, ...] = ()
    ranks: ByName[int] = field(default_factory=dict)
    alphas: ByName[float] = field(default_factory=dict)
    base: str | None = None
    revision: str | None = None

    def rank_of(self, layer: str) -> int:
        """Return the rank of a layer's saved factors."""
        return _named(self.ranks, layer, self.rank)

    def alpha_of(self, layer: str) -> float:
        """Return a layer's alpha as plain LoRA counts it: ``alpha / rank`` is the scale."""
        alpha = _named(self.alphas, layer, self.alpha)
        return alpha * math.sqrt(self.rank_of(layer)) if self.rslora else alpha

    def adapts(self, layer: str, *, linear: bool) -> bool:
        """Return whether a layer has factors.

        Args:
            layer: Its name.
            linear: Whether it is one of ``all-linear``.
        """
        if not self.excluded.isdisjoint(_endings(layer)):
            return False
        if self.targets is None:
            return linear
        if layer in self.targets or self.targets.isdisjoint(_endings(layer)):
            return layer in self.targets
        return self.blocks is None or _block(layer, self.stacks) in self.blocks


def read_config(directory: Path) -> AdapterConfig:
    """Read what an adapter's configuration says of it.

    Args:
        directory: Folder with ``adapter_config.json``.

    Raises:
        RedteamError: If it cannot be read, is no LoRA adapter, or one that plain LoRA cannot hold.
    """
    file = directory / ADAPTER_CONFIG
    remedy = "Name a folder that PEFT, or this library, saved an adapter in."
    if file.is_file() and file.stat().st_size > _MOST_CONFIG_BYTES:
        raise RedteamError(
            f"{str(file)!r} has more than {_MOST_CONFIG_BYTES} bytes, the most that is read. {remedy}"
        )
    record = read_json(file, remedy=remedy)
    if not isinstance(record, dict):
        raise RedteamError(f"{str(file)!r} holds no JSON object. {remedy}")
    return _Reader(directory, record).config()


class _Reader:
    """Reads the entries of one ``adapter_config.json``."""

    def __init__(self, directory: Path, record: Mapping[str, Any]) -> None:
        self._directory = directory
        self._record = record

    def config(self) -> AdapterConfig:
        """Return what is used of it."""
        self._check_kind()
        self._check_rest()
        targets = self._record.get("target_modules")
        blocks = self._record.get("layers_to_transform")
        return AdapterConfig(
            rank=self._rank("r", self._record.get("r")),
            alpha=self._alpha("lora_alpha", self._record.get("lora_alpha")),
            rslora=self._flag("use_rslora"),
            start=self._start(),
            targets=None if targets == _ALL_LINEAR else frozenset(self._names("target_modules")),
            excluded=frozenset(self._names("exclude_modules", empty=True)),
            blocks=None if blocks in (None, []) else self._blocks(blocks),
            stacks=self._names("layers_pattern", empty=True, one=True),
            ranks=self._by_name("rank_pattern", self._rank),
            alphas=self._by_name("alpha_pattern", self._alpha),
            base=self._place("base_model_name_or_path"),
            revision=self._text("revision"),
        )

    def _refused(self, cause: str, remedy: str = REMEDY) -> RedteamError:
        return RedteamError(
            f"The adapter in {str(self._directory)!r} is refused: {cause}. {remedy}"
        )

    def _wrong(self, name: str, value: Any, wanted: str) -> RedteamError:
        return self._refused(
            f"{name} is {shown(value)}, not {wanted}", f"Correct {ADAPTER_CONFIG}."
        )

    def _check_kind(self) -> None:
        kind = self._record.get("peft_type")
        if kind != "LORA":
            raise self._refused(f"its peft_type is {shown(kind)}, and only LORA can be read")
        task = self._record.get("task_type")
        if task not in (None, "CAUSAL_LM"):
            raise self._refused(f"it was made for the task {shown(task)}, not for CAUSAL_LM")
        bias = self._record.get("bias", "none")
        if bias != "none":
            raise self._refused(f"it also trains biases of the base (bias is {shown(bias)})")

    def _check_rest(self) -> None:
        """Refuse settings that would change what it computes, and names of code to import."""
        for name, value in self._record.items():
            if name in _READ or name in _OF_TRAINING or _is_off(value):
                continue
            cause = _CAUSES.get(name, "plain LoRA has no such setting")
            raise self._refused(f"{cause} ({shown(name)} is {shown(value)})")
        core = self._record.get("megatron_core")
        if core not in (None, "megatron.core"):
            raise self._refused(f"it names code to import (megatron_core is {shown(core)})")
        mapping = self._record.get("auto_mapping")
        library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
        # PEFT's own note of the base's class, where no task was named; not used either
        if library is not None and not str(library).startswith("transformers."):
            raise self._refused(f"it names code to import (auto_mapping is {shown(mapping)})")

    def _start(self) -> Start:
        given = self._record.get("init_lora_weights", True)
        name = given.lower() if isinstance(given, str) else given
        if name in _TAKEN_OUT:
            return "pissa" if name == "pissa" else "olora"
        # 0 and 1 equal False and True, but are none of them
        if isinstance(name, bool | str | None) and name in _PLAIN:
            return "plain"
        if isinstance(name, str) and name.startswith("pissa_niter_"):
            cause = f"{name} takes randomly chosen factors out of the base, which it does not hold"
        else:
            cause = f"init_lora_weights is {shown(given)}, which changes the base unseen"
        remedy = "Save it with path_initial_model_for_weight_conversion, which makes it plain LoRA."
        raise self._refused(cause, remedy)

    def _rank(self, name: str, value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= MOST_RANK:
            raise self._wrong(name, value, f"a whole number from 1 to {MOST_RANK}")
        return int(value)

    def _alpha(self, name: str, value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= MOST_ALPHA:
            raise self._wrong(name, value, f"a number above 0 and up to {MOST_ALPHA:g}")
        return value  # type: ignore[no-any-return]  # whole numbers stay whole in what is saved

    def _flag(self, name: str) -> bool:
        value = self._record.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return bool(value)

    def _text(self, name: str) -> str | None:
        value = self._record.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > _MOST_NAME:
            raise self._wrong(name, value, f"a text of up to {_MOST_NAME} characters")
        return value

    def _place(self, name: str) -> str | None:
        value = self._text(name)
        if value is not None and not is_place(value):
            raise self._wrong(name, value, "a model's name or directory")
        return value

    def _names(self, key: str, *, empty: bool = False, one: bool = False) -> tuple[str, ...]:
        """Return a list of literal names; with ``one``, a single name stands for a list of it."""
        value = self._record.get(key)
        if empty and _is_off(value):
            return ()
        if isinstance(value, str):
            if not one:
                raise self._wrong(
                    key, value, "a list of names of layers; regular expressions are not read"
                )
            value = [value]
        if not isinstance(value, list) or not value:
            raise self._wrong(key, value, "a list of names of layers")
        for name in value:
            if not _is_name(name):
                raise self._wrong(f"a name in {key}", name, "a literal name of layers")
        return tuple(value)

    def _by_name(self, key: str, check: Callable[[str, Any], T]) -> ByName[T]:
        """Return the checked values of a mapping from literal names of layers."""
        value = self._record.get(key)
        if _is_off(value):
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, "a mapping from names of layers")
        found: dict[str, tuple[int, T]] = {}
        for pattern, x in value.items():
            name = pattern.removesuffix("$").replace("\\.", ".")
            if not _is_name(name.removeprefix("^")):
                raise self._wrong(f"a name in {key}", pattern, "a literal name of layers")
            found.setdefault(name, (len(found), check(key, x)))
        return found

    def _blocks(self, value: Any) -> frozenset[int]:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in numbers):
            raise self._wrong("layers_to_transform", value, "a list of numbers of blocks")
        return frozenset(numbers)


def _endings(layer: str) -> list[str]:
    """Return a layer's name, and what follows each dot in it."""
    words = layer.split(".")
    return [".".join(words[k:]) for k in range(len(words))]


def _named(values: ByName[T], layer: str, default: T) -> T:
    """Return the value that counts for a layer."""
    found = [values[name] for name in (f"^{layer}", *_endings(layer)) if name in values]
    return min(found)[1] if found else default


def _block(layer: str, stacks: tuple[str, ...]) -> int | None:
    """Return the number of the block that a layer is in, as PEFT finds it: the first number in its name.

    Args:
        layer: Its name.
        stacks: What may stand before the number; by default any word but the name's first.
    """
    words = layer.split(".")
    for stack in stacks or ("",):
        for k in range(1 if stack else 2, len(words) - 1):
            before = ".".join(words[:k])
            fits = not stack or before == stack or before.endswith(f".{stack}")
            if fits and words[k].isdecimal():
                return int(words[k])
    return None


def _is_off(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_NAME and bool(_NAME.fullmatch(value))


def cut(text: str) -> str:
    """Return a text of a file, not longer than is good for a message."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def shown(value: Any) -> str:
    """Return a value of a file as text for a message, not longer than is good for one."""
    if isinstance(value, list):
        inner = [shown(x) for x in value[:3]] + ["..."] * (len(value) > 3)
        return f"[{cut(', '.join(inner))}]"
    if isinstance(value, dict):
        pairs = [f"{cut(k)!r}: {shown(x)}" for k, x in list(value.items())[:3]]
        return f"{{{cut(', '.join([*pairs, *['...'] * (len(value) > 3)]))}}}"
    return repr(cut(value)) if isinstance(value, str) else cut(repr(value))


def is_place(name: str) -> bool:
    """Return whether a text that a file holds can name a model: whether it can be looked for on disk."""
    if len(name) > _MOST_NAME:
        return False
    try:
        Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False
    return True
