"""The command ``models``: which models are known, and fetching one before it is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.lora.config import PolicyConfig
from redteam_env.usage import READING, need
from redteam_env.utils.console import make_console, print_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """List the models that need no hub, and whether they are there.

    Attributes:
        json: Print JSON.
    """

    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GetModel:
    """Fetch a model, load it once and print what it is.

    Attributes:
        model: smollm2, tiny-random, a model directory, or a hub id.
        revision: Branch, tag or commit of a hub model.
        json: Print JSON.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    revision: str | None = None
    json: bool = False


def models(argv: Sequence[str]) -> int:
    """List the models that are known, or get one.

    Args:
        argv: ``list`` or ``get MODEL`` with options.

    Returns:
        0.

    Raises:
        RedteamError: If torch is not installed, or the model cannot be fetched or loaded.
    """
    action = tyro.extras.subcommand_cli_from_dict(
        {"list": ListModels, "get": GetModel},
        args=list(argv),
        registry=READING,
        prog="redteam-env models",
        description="List the models that are known, or get one.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return _get(action) if isinstance(action, GetModel) else _list(action)


def _list(action: ListModels) -> int:
    need("models list", {"torch": "train"})
    from agents.models import KNOWN, is_here  # noqa: PLC0415 - imports torch

    console = make_console()
    there = {name: is_here(name) for name in KNOWN}
    if action.json:
        rows = [{"name": name, "what": KNOWN[name], "cached": there[name]} for name in KNOWN]
        print_json(rows)
        return 0
    for name, what in KNOWN.items():
        console.print(f"{name}: {what} ({'here' if there[name] else 'not fetched yet'})")
    console.print("Also: any directory that save_pretrained wrote, any hub id such as owner/name.")
    return 0


def _get(action: GetModel) -> int:
    need("models get", {"torch": "train"})
    from agents.lora.policy import make_codec  # noqa: PLC0415 - imports torch
    from agents.lora.probe import check_model  # noqa: PLC0415
    from agents.models import count_parameters, load_base, locate  # noqa: PLC0415

    loaded = load_base(action.model, revision=action.revision)
    make_codec(loaded, PolicyConfig())
    check_model(loaded)
    where = locate(action.model)
    facts = {
        "model": loaded.spec,
        "architecture": type(loaded.model).__name__,
        "parameters": count_parameters(loaded.model),
        "fingerprint": loaded.fingerprint,
        "directory": where if Path(where).is_dir() else None,
    }
    if action.json:
        print_json(facts)
        return 0
    console = make_console()
    for name, value in facts.items():
        console.print(f"{name}: {value}")
    return 0
