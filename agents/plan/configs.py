"""From a model's name to its shape: plain data, a local ``config.json``, or one from the hub.

Qwen2, Qwen3 and Llama configurations are understood, with the meaning that transformers gives to
fields that are absent. Mixtures of experts, sliding windows and quantised weights are not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.plan.shapes import SHAPES, SMOLLM2, Shape
from redteam_env.game import RedteamError, unknown_name
from redteam_env.utils.console import make_console
from redteam_env.utils.files import read_record
from redteam_env.utils.hub import quiet_hub
from redteam_env.utils.text import safe_text
from redteam_env.worlds import MODELS, embedded_model

CONFIG = "config.json"
_WIDTHS = {
    "vocab": "vocab_size",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
}
_ALSO = {
    "llama": (),
    "qwen2": ("num_key_value_heads",),
    "qwen3": ("num_key_value_heads", "head_dim"),
}
_PATIENCE_S = 5
"""How long the hub may take to answer."""
_FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias")


def shape_of(model: str, *, revision: str | None = None) -> Shape:
    """Return the shape of the model a user names.

    Args:
        model: A known name, an embedded model, a directory with a ``config.json``, or a hub id.
        revision: Branch, tag or commit of a hub model; the plain data here stands for the current
            one, so a hub model with a revision is always asked for.

    Raises:
        RedteamError: If there is no such model, or its configuration is of another kind or broken.
    """
    if model in MODELS:
        return read_shape(embedded_model(model) / CONFIG)
    path = Path(model).expanduser()
    if model.strip() and path.is_dir() and model != SMOLLM2:
        return read_shape(path / CONFIG)
    if model in SHAPES and (revision is None or model == SMOLLM2):
        return SHAPES[model]
    parts = model.split("/")
    if len(parts) == 2 and all(parts) and not model.startswith((".", "~")):
        return read_shape(_fetch(model, revision))
    hint = "Or name a directory with a config.json, or a hub id of the form owner/name."
    raise unknown_name("model", model, (*SHAPES, *MODELS), hint=hint)


def read_shape(file: Path) -> Shape:
    """Return the shape that a ``config.json`` describes.

    Raises:
        RedteamError: If the file cannot be read, or :func:`parse_shape` refuses it.
    """
    config = read_record(file, remedy="Name a folder that save_pretrained wrote.")
    return parse_shape(config, str(file))


def parse_shape(config: Mapping[str, Any], origin: str) -> Shape:
    """Return the shape that a configuration describes.

    Args:
        config: The fields of a ``config.json``.
        origin: Where it comes from, for errors.

    Raises:
        RedteamError: If the architecture is not understood, or a field is missing or wrong.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _ALSO:
        raise RedteamError(
            f"{origin!r} has model_type {family!r}; the arithmetic knows {', '.join(sorted(_ALSO))}. "
            "Another model's parameters can be counted after loading it: redteam-env models get."
        )
    if config.get("quantization_config"):
        raise RedteamError(
            f"{origin!r} has a quantization_config; the arithmetic knows float32 and bfloat16 "
            "weights. Name the model that it was made from."
        )
    widths = {ours: _whole(config, name, origin) for ours, name in _WIDTHS.items()}
    for name in _ALSO[family]:
        if name not in config:
            raise _missing(name, origin)
    for name in _FLAGS:
        if not isinstance(config.get(name, False), bool):
            raise RedteamError(
                f"{name} in {origin!r} is {config[name]!r}; it must be true or false."
            )
    heads, hidden = widths["heads"], widths["hidden"]
    kv_heads = heads
    if config.get("num_key_value_heads") is not None:
        kv_heads = _whole(config, "num_key_value_heads", origin)
    if heads % kv_heads:
        raise RedteamError(
            f"num_attention_heads in {origin!r} is {heads}, which num_key_value_heads = {kv_heads} "
            "does not divide; the file was altered."
        )
    if config.get("head_dim") is not None:
        head_dim = _whole(config, "head_dim", origin)
    elif hidden % heads:
        raise RedteamError(
            f"hidden_size in {origin!r} is {hidden}, which num_attention_heads = {heads} does not "
            "divide, and there is no head_dim; add it."
        )
    else:
        head_dim = hidden // heads
    own_bias = config.get("attention_bias", False)
    return Shape(
        **widths,
        kv_heads=kv_heads,
        head_dim=head_dim,
        tied=config.get("tie_word_embeddings", False),
        qkv_bias=family == "qwen2" or own_bias,
        o_bias=family != "qwen2" and own_bias,
        mlp_bias=family == "llama" and config.get("mlp_bias", False),
        qk_norm=family == "qwen3",
    )


def _whole(config: Mapping[str, Any], name: str, origin: str) -> int:
    if name not in config:
        raise _missing(name, origin)
    value = config[name]
    if type(value) is not int or value < 1:
        raise RedteamError(f"{name} in {origin!r} is {value!r}; it must be a whole number above 0.")
    return value


def _missing(name: str, origin: str) -> RedteamError:
    return RedteamError(
        f"{origin!r} has no {name}; the shape of the model cannot be known. Add it."
    )


def _fetch(model: str, revision: str | None) -> Path:
    """Download one small file; the hub client keeps it in its own cache."""
    try:
        import huggingface_hub as hub  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise RedteamError(
            f"The shape of {model!r} is not known here, and asking the hub needs huggingface_hub: "
            f"pip install 'redteam-env[train]'. Known without it: {', '.join(SHAPES)}."
        ) from error
    try:
        with quiet_hub():
            if not isinstance(hub.try_to_load_from_cache(model, CONFIG, revision=revision), str):
                asked = f"Looking for the {CONFIG} of {model!r} on the Hugging Face hub."
                make_console(stderr=True).print(safe_text(asked), soft_wrap=True)
                # asked once: a download tries again for half a minute where nothing answers
                url = hub.hf_hub_url(model, CONFIG, revision=revision)
                hub.get_hf_file_metadata(url, timeout=_PATIENCE_S)
            return Path(
                hub.hf_hub_download(model, CONFIG, revision=revision, etag_timeout=_PATIENCE_S)
            )
    except Exception as error:  # the client's errors share no class: network, access, bad name
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RedteamError(
            f"No {CONFIG} of {model!r} can be had from the hub: {reason.rstrip('.')}. It needs the hub in reach "
            "and access to the model; or name a directory with its config.json."
        ) from error
