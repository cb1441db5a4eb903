"""The manifest of a study's directory: everything that decides its results; two are never mixed."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.training.config import TrainConfig
from algorithms.training.plugins import agent_plugins, plugins_of
from redteam_env import registry
from redteam_env.evaluation.agents import agent_names
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.provenance import LENGTH, digest, digest_of_seeds, origins
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.utils.files import digests_of, is_empty, read_json, sha256_of, write_text
from redteam_env.utils.packages import versions
from redteam_env.utils.places import parts_of
from redteam_env.worlds import MODELS, build_game
from redteam_env.worlds.apothecary.levels import versioned
from redteam_env.worlds.embedded import embedded_model

STACK = ("redteam-env", "torch", "transformers", "peft", "numpy", "stable-baselines3")
"""Distributions whose versions a manifest holds."""
_NAMES = ("algorithm", "arrangement", "callback", "judge", "opponents", "policy", "seeds")
"""Options whose text is the name of something and no file."""
_DESCRIBE = ("card.json", "card.md", "README.md")
"""Files of a model that say what it is, and decide nothing."""
_OF_RUN = ("out", "seed")
"""Options that differ between the runs of a kind."""
_SHOWN = 300
"""Most characters of a value in a message."""


def open_directory(file: Path, wanted: Mapping[str, Any], *, what: str) -> None:
    """Make a directory of results, or check that it is this one's.

    Args:
        file: The manifest's place in it.
        wanted: The manifest.
        what: What the results are of, such as ``experiment``.

    Raises:
        RedteamError: If it holds something else, or another manifest; the text shows the difference.
    """
    root = file.parent
    if file.is_file():
        check_manifest(file, wanted)
        return
    if root.exists() and (not root.is_dir() or not is_empty(root)):
        raise RedteamError(f"{str(root)!r} is not empty and holds no {what}; give another --out.")
    write_text(file, json.dumps(wanted, indent=1))


def check_manifest(file: Path, wanted: Mapping[str, Any], *, option: str = "--out") -> None:
    """Refuse the directory of other results.

    Args:
        file: Its manifest.
        wanted: The manifest that it should have.
        option: The option by which a user names another directory.

    Raises:
        RedteamError: If the manifest was edited by hand, differs or cannot be read.
    """
    found = read_json(file, remedy=f"Give another {option}.")
    if "digest" in wanted:
        check_digest(found, file)
    every = list(_differences(found, wanted, ""))
    # these differ whenever something else does, and say less
    differences = [x for x in every if not x.startswith(("digest:", "configs"))] or every
    if differences:
        listed = "; ".join(differences[:5])
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise RedteamError(
            f"{str(file.parent)!r} holds results of another manifest ({listed}{more}). Results of "
            f"different manifests are never mixed: give another {option}, or the configuration and "
            "versions it was started with."
        )


def check_target(target: Path, file: str, manifest: Mapping[str, Any], *, what: str) -> None:
    """Refuse to write a report over anything but one of the same manifest.

    Args:
        target: Where it is to go.
        file: The name of the manifest in it.
        manifest: The manifest.
        what: What kind of report it is, such as ``a benchmark's report``.

    Raises:
        RedteamError: If something else is there.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / file).is_file():
        raise RedteamError(f"{str(target)!r} holds something else than {what}; give another --to.")
    check_manifest(target / file, manifest, option="--to")


def _differences(found: Any, wanted: Any, where: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, Mapping):
        for name in sorted({*found, *wanted}):
            place = f"{where}.{name}" if where else name
            yield from _differences(found.get(name), wanted.get(name), place)
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for k, (there, now) in enumerate(zip(found, wanted, strict=True)):
            yield from _differences(there, now, f"{where}[{k}]")
    elif found != wanted:
        yield f"{where}: {_shown(found)} there, {_shown(wanted)} now"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def sealed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with its own digest, by which an edit is noticed."""
    return {**body, "digest": digest_of(body)}


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Return a digest of a manifest, the digest in it left out."""
    body = {name: value for name, value in manifest.items() if name != "digest"}
    return digest([json.dumps(body, sort_keys=True)])


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


def check_seeds(stored: str, sources: Sequence[str], file: Path) -> None:
    """Refuse results on other seeds than those that these names mean now.

    Args:
        stored: What the manifest holds of them.
        sources: The names.
        file: The manifest, for the message.

    Raises:
        RedteamError: If the seeds are others, as in another version of a controlled world.
    """
    if stored != digest_of_seeds(map(resolve_seeds, sources)):
        raise RedteamError(
            f"{str(file)!r} holds results on other seeds than {', '.join(sources)} has now, such as those of "
            "an older version of the world; they cannot be judged again or compared. Use the version of "
            "redteam-env that wrote them, or run the benchmark again."
        )


def fingerprints(
    configs: Sequence[TrainConfig],
    options: Iterable[Mapping[str, Any]],
    *,
    suites: Sequence[str] = (),
    agents: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what stands behind the names in a study's options.

    The seeds of all splits, the instruction texts, every run's options with those that its world brings,
    and every file of models, agents and options by their hashes; which distribution each plug-in comes
    from, and the source of those that are not ours; versions. A model named by its hub id is
    known by that name (and ``revision`` in its options) alone.

    Args:
        configs: A configuration of every kind of run.
        options: The training options that the study sets.
        suites: Registered suites that are asked.
        agents: Agents beside those that are trained.

    Raises:
        RedteamError: If a file cannot be read.
    """
    sources = dict.fromkeys(config.game.seeds for config in configs)
    games = {config.game.prompts: build_game(config.game) for config in configs}
    named = [
        *(str(getattr(config.policy, "model", "")) for config in configs),
        *agents,
        *(
            value
            for part in options
            for name, value in part.items()
            if isinstance(value, str) and name not in _NAMES
        ),
    ]
    return {
        "seeds": digest_of_seeds(map(resolve_seeds, sources)),
        "prompts": digest(game.prompts.digest for game in games.values()),
        "files": dict(_files(dict.fromkeys(named))),
        "configs": [_options(config) for config in configs],
        "world_versions": _world_versions(str(getattr(x.policy, "model", "")) for x in configs),
        "plugins": _plugins(configs, suites, agents),
        "versions": versions(STACK),
    }


def missing_plugins(manifest: Mapping[str, Any]) -> list[str]:
    """Return, a line each, which plug-ins that results were made with are not here."""
    used = (plugin.partition("/")[::2] for plugin in manifest.get("plugins", {}))
    return [
        f"the plug-in {name!r} ({kind}) is not here: install it, or verify in Python after the import of "
        "what registers it"
        for kind, name in used
        if name not in registry.names(kind)
    ]


def check_worlds(manifest: Mapping[str, Any], file: Path) -> None:
    """Refuse results in an older version of a world that comes with the package.

    Raises:
        RedteamError: If a manifest names another version of a world than there is.
    """
    held = manifest.get("world_versions", {})
    for model, now in _world_versions(held).items():
        if held[model] != now:
            raise RedteamError(
                f"{str(file)!r} holds results in {held[model]}, this is {now}; they cannot be judged again "
                "or compared. Use the version of redteam-env that wrote them."
            )


def _world_versions(models: Iterable[str]) -> dict[str, str]:
    return {model: versioned(model) for model in models if model in MODELS}


def _options(config: TrainConfig) -> str:
    """Return a digest of a run's options, those that a world brings among them; not where it goes."""
    flat = {name: x for name, x in config.flat().items() if name not in _OF_RUN}
    return digest([json.dumps(flat, sort_keys=True, default=str)])


def _files(named: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what names files or folders here, each with a digest of every file behind it.

    Cards are left out: one that is written again changes no result.
    """
    for spec in named:
        root = _place(spec)
        try:
            if root is not None and root.is_file():
                yield spec, sha256_of(root)[:LENGTH]
            elif root is not None:
                digests = digests_of(root).items()
                yield spec, digest(f"{x} {sha}" for x, sha in digests if x not in _DESCRIBE)
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
    texts = (spec, spec.partition(":")[2], *parts_of(spec))
    places = (Path(text).expanduser() for text in texts if text)
    return next((place for place in places if place.exists()), None)


def _plugins(
    configs: Sequence[TrainConfig], suites: Sequence[str], agents: Sequence[str]
) -> dict[str, str]:
    """Return each plug-in that is used, as ``KIND/NAME``, with what can be told of where it comes from."""
    used = {("agents", registry.LOADER), *agent_plugins(agents)}
    used |= {("suites", name) for name in suites}
    # where a run is logged changes no result
    used |= {x for config in configs for x in plugins_of(config) if x[0] != "loggers"}
    return {name: ", ".join(origin.values()) for name, origin in origins(used).items()}
