"""What a run or a study is made with, and whether it goes on with the same.

What changes results is recorded as digests and compared: seeds, instruction texts, the judge and its
template, the base, files behind options, the source of plug-ins. Versions are recorded and warned of.
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redteam_env import registry
from redteam_env.border.seeds import all_seeds, card_of
from redteam_env.game import Game, RedteamError
from redteam_env.judges.identity import identity_of
from redteam_env.protocols import Judge, SeedSource
from redteam_env.runs import DEFAULTS, DIFFERS, Run
from redteam_env.seeds.source import SPLITS
from redteam_env.trust import STARTED, in_words_of, sealed
from redteam_env.utils import notices
from redteam_env.utils.files import sha256_of
from redteam_env.utils.packages import versions
from redteam_env.utils.places import is_bare, places_in, rooted_code

STACK = ("redteam-env", "pettingzoo", "gymnasium", "numpy", "torch", "transformers", "peft")
"""Distributions whose versions a run's record holds."""
OURS = "redteam-env"
IN_PROCESS = "registered in process"
LENGTH = 16
"""Hexadecimal digits of a digest."""
_OF_BASE = ("base_fingerprint", "base_parameters")
"""What a policy says of the weights that all its runs begin with."""


def digest(lines: Iterable[str]) -> str:
    """Return a short digest of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:LENGTH]


def digest_of_seeds(sources: Iterable[SeedSource]) -> str:
    """Return a digest of all seeds of sources, in their order."""
    return digest(
        json.dumps(dataclasses.asdict(seed), sort_keys=True)
        for source in sources
        for split in SPLITS
        for seed in all_seeds(source, split)
    )


def origins(used: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return where plug-ins come from, as ``KIND/NAME``: ``distribution`` and a digest of their ``source``.

    Ours have no digest: their version stands for them. Of others the package is read, since an editable
    installation keeps its version number.

    Args:
        used: Kind and name of each; what no distribution announces and nobody registered is left out.
    """
    known: dict[tuple[str, str], registry.Plugin] = {}
    for x in registry.found():
        known.setdefault((x.kind, x.name), x)
    return {
        f"{kind}/{name}": _origin(known[kind, name]) for kind, name in sorted({*used} & {*known})
    }


def _origin(plugin: registry.Plugin) -> dict[str, str]:
    if plugin.distribution.partition(" ")[0] == OURS:
        return {"distribution": plugin.distribution}
    installed = plugin.distribution != "-"
    digests = [
        f"{place.relative_to(root)} {sha256_of(place)}"
        for root in (_package(plugin) if installed else _file(plugin))
        for place in sorted(root.rglob("*") if root.is_dir() else [root])
        if place.is_file() and "__pycache__" not in place.parts
    ]
    origin = plugin.distribution if installed else IN_PROCESS
    return {"distribution": origin, **({"source": digest(digests)} if digests else {})}


def _package(plugin: registry.Plugin) -> list[Path]:
    """Return the folder, or the file, of the top-level package that an installed plug-in lies in.

    A package is taken as a whole: what a plug-in does may depend on any module and text of it.
    """
    spec = importlib.util.find_spec(plugin.target.partition(":")[0].partition(".")[0])
    if spec is None:
        return []
    places = spec.submodule_search_locations or [str(spec.origin)]
    return [Path(x) for x in places if Path(x).exists()]


def _file(plugin: registry.Plugin) -> list[Path]:
    """Return the source file of a plug-in that was registered in this process."""
    found = registry.load(plugin.kind, plugin.name)
    try:
        file = inspect.getsourcefile(getattr(found, registry.STANDS_FOR, found))
    except TypeError:  # an object without a source
        return []
    return [Path(file)] if file is not None and Path(file).is_file() else []


def write_config(
    run: Run,
    config: Mapping[str, Any],
    *,
    policy: Mapping[str, Any],
    source: SeedSource,
    judge: Judge,
    game: Game,
    plugins: Mapping[str, Mapping[str, str]],
    processes: int = 1,
    defaults: Mapping[str, Any],
    departures: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    """Write everything that is needed to repeat a run; of one that goes on, add what is new to it.

    What a run was begun with stays at the top of the record; each later session stands under
    ``sessions`` with its versions, revision and time.

    Args:
        run: The run.
        config: The flat configuration; where the run lies, and how it was called, is left out.
        policy: What identifies the policy.
        source: Where seeds come from.
        judge: The judge.
        game: The rules.
        plugins: What :func:`origins` returned for all that the run is made with.
        processes: How many processes train together.
        defaults: The defaults of the options that have another value.
        departures: In what the run differs from the recipe that it names, as value there and here; ``None``
            if that is not known.

    Raises:
        RedteamError: If the run was begun with other seeds, instruction texts, plug-ins, another judge or
            base, or with other files behind its options; the text names what differs.
    """
    options = {**config, "config": None, "out": None, "resume": False, "json": False}
    found = {
        "policy": {name: policy[name] for name in _OF_BASE if name in policy},
        "seeds": {**dataclasses.asdict(card_of(source)), "digest": digest_of_seeds([source])},
        "judge": _judge(judge),
        "prompts": {"digest": game.prompts.digest},
        "files": _files(options),
        "plugins": {name: x["source"] for name, x in plugins.items() if "source" in x},
    }
    session = _session(plugins, processes)
    record = run.record(objects=["versions"])
    if record is None:
        started = {STARTED: str(Path.cwd())}
        record = {"config": options, **started, **found, "policy": dict(policy), **session}
    else:
        _check_same(run.path, record, found)
        _warn_of_versions(run.path, record, session["versions"])
        sessions = [*record.get("sessions", []), session]
        record |= {"config": in_words_of(run, options), "sessions": sessions}
    record |= {DEFAULTS: dict(defaults)}
    if departures is not None:
        rows = {x: {"recipe": there, "run": here} for x, (there, here) in departures.items()}
        record |= {DIFFERS: rows}
    run.write_record(sealed(record))  # first: without it the directory is taken for no run
    run.write_prompts(game.prompts)


def _judge(judge: Judge) -> dict[str, Any]:
    identity = identity_of(judge)
    template = getattr(getattr(judge, "template", None), "text", None)
    prompt = digest([template]) if isinstance(template, str) else identity.template
    found = {"revision": identity.revision, "template": prompt}
    known = {name: value for name, value in found.items() if value}
    return {"name": judge.name, "smoke_only": judge.smoke_only, **known}


def _session(plugins: Mapping[str, Mapping[str, str]], processes: int) -> dict[str, Any]:
    """Return what is recorded of a session, and may differ in the next."""
    others = {x["distribution"] for x in plugins.values()} - {IN_PROCESS}
    named = dict(x.partition(" ")[::2] for x in sorted(others))
    return {
        "processes": processes,
        "versions": {"python": platform.python_version(), **named, **versions(STACK)},
        "git": _revision(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _check_same(run: Path, record: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to go on with anything that would change results; what has no record is not compared."""
    started = record.get(STARTED)
    plugins = record.get("plugins")
    if isinstance(plugins, Mapping) and isinstance(started, str):
        record = {**record, "plugins": _of_places(plugins, Path(started))}
        now = {**now, "plugins": _of_places(now["plugins"], Path.cwd())}
    differences = [
        f"{what}.{name}: {there!r} there, {found.get(name)!r} now"
        for what, found in now.items()
        if isinstance(stored := record.get(what), Mapping)
        for name, there in stored.items()
        if (what, name) != ("seeds", "origin")  # the same file from another directory
        and (what != "policy" or name in found)
        and there != found.get(name)
    ]
    if differences:
        raise RedteamError(
            f"{str(run)!r} was begun with something else ({'; '.join(differences)}). Restore what it was "
            "begun with, or give another --out."
        )


def _of_places(plugins: Mapping[str, Any], start: Path) -> dict[str, Any]:
    """Return what is recorded of plug-ins, those that are named by their code under absolute places."""
    split = {name: name.partition("/") for name in plugins}
    return {
        f"{kind}/{rooted_code(own, start=start)}": plugins[name]
        for name, (kind, _, own) in split.items()
    }


def _warn_of_versions(run: Path, record: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    last = (record.get("sessions") or [record])[-1].get("versions", {})
    changes = [f"{x} {last[x]} then, {now.get(x)} now" for x in last if last[x] != now.get(x)]
    if changes:
        notices.warn(
            f"{str(run)!r} goes on with other versions ({', '.join(changes)}); it may not be repeatable.",
        )


def _files(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file that options name; seeds have digests of their own."""
    named = {
        name: [x for x in places_in(value, start=Path.cwd(), bare=is_bare(name)) if x.is_file()]
        for name, value in options.items()
        if isinstance(value, str) and name != "seeds"
    }
    return {name: " ".join(map(sha256_of, files)) for name, files in named.items() if files}


def _revision() -> str | None:
    """Return the git revision of the source tree, ``None`` for an installed package."""
    try:
        result = subprocess.run(  # nosec B603 B607 # fixed words; whichever git the user has
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
