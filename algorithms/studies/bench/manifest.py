"""The manifest of a benchmark: everything that decides its results, and a digest of it."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from algorithms.studies.bench.config import BenchConfig, cells
from algorithms.studies.experiments.runner import STACK
from redteam_env import registry
from redteam_env.evaluation.agents import LOADER, agent_names
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.registry import split_name
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.seeds.source import SPLITS
from redteam_env.utils.files import sha256_of
from redteam_env.utils.lists import listed
from redteam_env.utils.packages import versions
from redteam_env.worlds import MODELS, build_game
from redteam_env.worlds.embedded import embedded_model

SCHEMA = 2
PLACES = ("workers", "out", "to", "json")
"""Options that decide no result."""


def manifest_of(config: BenchConfig) -> dict[str, Any]:
    """Return everything that decides a benchmark's results, with a digest of it.

    Options and cells; the seeds of all splits, the instruction texts and every file of the model, of
    the panels and of the settings by their hashes; which distribution each plug-in comes from;
    versions. A model named by its hub id is known by that name (and ``revision`` in the settings)
    alone.

    Raises:
        RedteamError: If nothing can be run, or a file cannot be read.
    """
    options = dataclasses.asdict(config)
    for name in PLACES:
        del options[name]
    every = cells(config)
    first = next(cell for cell in every if cell.reason is None)
    game = build_game(config.options(first, 0, Path("unused")).game)
    body = {
        "schema": SCHEMA,
        "options": options,
        "cells": [dataclasses.asdict(cell) for cell in every],
        "seeds": _seeds(config.source),
        "prompts": game.prompts.digest,
        "files": dict(_files(config)),
        "plugins": dict(_plugins(config)),
        "versions": versions((*STACK, "stable-baselines3")),
    }
    return {**body, "digest": digest_of(body)}


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Return a digest of a manifest, the digest in it left out."""
    body = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def check_digest(manifest: Any, file: Path) -> None:
    """Refuse a manifest that was edited by hand.

    Raises:
        RedteamError: If it does not carry its own digest.
    """
    if not isinstance(manifest, dict) or manifest.get("digest") != digest_of(manifest):
        raise RedteamError(
            f"{str(file)!r} was edited by hand, or damaged: its digest is not that of its content. "
            "Restore it, or start in another --out; its results cannot be told apart from others."
        )


def _seeds(source: str) -> str:
    """Return a hash of all seeds of a source, in their order."""
    digest = hashlib.sha256()
    found = resolve_seeds(source)
    for split in SPLITS:
        for seed in found.seeds(split):
            digest.update(json.dumps(dataclasses.asdict(seed), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:16]


def _files(config: BenchConfig) -> Iterator[tuple[str, str]]:
    """Yield what names files or folders here, each with a hash of every file behind it."""
    settings = config.settings_by_name()
    named = (
        config.model,
        *_panels(config),
        *(value for value in settings.values() if isinstance(value, str)),
    )
    for spec in dict.fromkeys(named):
        root = _place(spec)
        try:
            if root is None:
                continue
            if root.is_file():
                yield spec, sha256_of(root)[:16]
            else:
                yield spec, _folder(root)
        except OSError as error:
            raise RedteamError(
                f"A file of {spec!r} cannot be read ({error}), so the manifest cannot hold it; make it "
                "readable."
            ) from error


def _place(spec: str) -> Path | None:
    """Return the file or folder that is meant, perhaps behind a prefix as in ``mixture:RUN``."""
    if spec in MODELS:
        return embedded_model(spec)
    if spec in {BASE, *agent_names()}:
        return None
    places = (Path(text).expanduser() for text in (spec, spec.partition(":")[2]) if text)
    return next((place for place in places if place.exists()), None)


def _panels(config: BenchConfig) -> tuple[str, ...]:
    return (*listed(config.panel_attackers), *listed(config.panel_defenders))


def _folder(root: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(x for x in root.rglob("*") if x.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()[:16]


def _plugins(config: BenchConfig) -> Iterator[tuple[str, str]]:
    """Yield each plug-in that is used, as ``KIND/NAME``, with the distribution it comes from."""
    used = [
        ("policies", config.policy),
        ("agents", LOADER),
        ("judges", config.judge.partition(":")[0]),
    ]
    for label in listed(config.algorithms):
        algorithm, _, opponents = label.partition("+")
        used += [("algorithms", algorithm), ("opponents", opponents)]
    for part in config.source.split(","):
        name = part.strip().partition("?")[0].partition(":")[0]
        used.append(("seeds", name if name in registry.names("seeds") else "file"))
    used += [("suites", name) for name in listed(config.suites)]
    used += [("agents", split_name(spec)[0]) for spec in _panels(config)]
    origins: dict[tuple[str, str], str] = {}
    for x in registry.found():
        origins.setdefault((x.kind, x.name), x.distribution)
    for kind, name in sorted(set(used)):
        if (kind, name) in origins:
            origin = origins[kind, name]
            yield f"{kind}/{name}", _in_process(kind, name) if origin == "-" else origin


def _in_process(kind: str, name: str) -> str:
    """Return what can be told of a plug-in that no distribution brings: a hash of its source file."""
    try:
        file = inspect.getsourcefile(registry.load(kind, name))
    except TypeError:  # an object without a source
        file = None
    there = file is not None and Path(file).is_file()
    return "registered in process" + (f", {sha256_of(Path(str(file)))[:16]}" if there else "")
