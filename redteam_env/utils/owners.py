"""Whose files lie under a top-level name of ours that another distribution may have, too.

``agents`` is such a name: openai-agents ships it. In one site-packages the second to be installed
overwrites files of the first, whose folder then looks as before; whoever is uninstalled takes the other's
files along. So files are compared with what the installer wrote down of them (``RECORD``): their places,
sizes and digests. Of an editable installation nothing is overwritten, but the other's folder hides ours.
"""

import base64
import csv
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "redteam-env"
OURS = ("agents", "algorithms")
"""The top-level names that another distribution may have, too."""
HOME = Path(__file__).resolve().parents[2]
_INIT = "__init__.py"


@dataclass(frozen=True, slots=True)
class _Written:
    """What an installer wrote down of a file: its digest, empty if unknown, and its size."""

    digest: str
    size: str


def clash_of(top: str) -> str | None:
    """Say what hides, replaced or removed a package of ours.

    Args:
        top: One of :data:`OURS`.

    Returns:
        What is wrong and the cure, in sentences; ``None`` if Python finds our files.
    """
    return _clash_of(top, tuple(sys.path))


@lru_cache(maxsize=16)
def _clash_of(top: str, _path: tuple[str, ...]) -> str | None:
    own = _distribution()
    written = _under(top, {} if own is None else _written(own))
    home = HOME / top
    if own is None or not written or Path(str(own.locate_file(""))).resolve() != HOME:
        return _hidden(top, home)  # editable, or only importable: no installer wrote these files
    gone = [name for name in written if not (home.parent / name).is_file()]
    if gone:
        return (
            f"{_named(gone)} of {DISTRIBUTION} {'is' if len(gone) == 1 else 'are'} missing, as after the "
            f"uninstallation of another distribution with a package {top!r} (openai-agents ships 'agents'). "
            f"{_reinstall(own)}"
        )
    if (hidden := _hidden(top, home)) is not None:
        return hidden
    other = [name for name, x in written.items() if not _as_written(home.parent / name, x)]
    shadows = [name for name in written if _shadow(home.parent / name)]
    if not other and not shadows:
        return None
    owners = _owners([*other, *(str(Path(x).with_suffix("") / _INIT) for x in shadows)])
    if not owners and not shadows:
        return None  # edited in place
    theirs = " and ".join(owners) or "somebody else"
    first = f"pip uninstall {' '.join(owners)}; then " if shadows and owners else ""
    return (
        f"{_named([*other, *shadows])} of {DISTRIBUTION} {'is' if len(other + shadows) == 1 else 'are'} "
        f"replaced or hidden by files of {theirs}, with a package {top!r}, too. {first}{_reinstall(own)} Both "
        f"do not work in one environment: install {DISTRIBUTION} into one of its own to keep the other."
    )


def sharing(top: str) -> list[str]:
    """Return the other distributions that say they have files in a package of ours, sorted."""
    found = {
        _name(x)
        for x in metadata.distributions()
        if any(y.startswith(f"{top}/") for y in _written(x))
    }
    return sorted(found - {DISTRIBUTION, ""})


def _hidden(top: str, home: Path) -> str | None:
    """Say which other folder Python finds in the place of ours."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    places = [] if spec is None else [Path(x) for x in spec.submodule_search_locations or ()]
    if places and places[0].resolve() == home:
        return None
    if spec is None:
        return f"The package {top!r} of {DISTRIBUTION} is missing; install {DISTRIBUTION} again."
    where = places[0] if places else Path(str(spec.origin))
    owners = _owners([f"{top}/{_INIT}"], start=where.parent)
    whose = f"of {' and '.join(owners)}" if owners else "of no installed distribution"
    cure = (
        f"pip uninstall {' '.join(owners)}"
        if owners
        else f"Take {str(where.parent)!r} off Python's search path (openai-agents ships 'agents', too)"
    )
    return (
        f"The package {top!r} that Python finds is {str(where)!r} ({whose}), not {DISTRIBUTION}'s. {cure}, or "
        f"install {DISTRIBUTION} into an environment of its own."
    )


def _reinstall(own: metadata.Distribution | None) -> str:
    """Return the command that brings our files back, with the place that they came from."""
    text = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
    try:
        url = json.loads((own and own.read_text("direct_url.json")) or "{}").get("url")
    except (ValueError, AttributeError, OSError):
        url = None
    return f"{text} brings them back{f' (it was installed from {url})' if url else ''}."


def _distribution() -> metadata.Distribution | None:
    try:
        return metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None


def _name(found: metadata.Distribution) -> str:
    try:
        return str(found.metadata["Name"] or "")
    except (TypeError, KeyError):  # an installation that was broken off has no metadata
        return ""


def _written(found: metadata.Distribution) -> dict[str, _Written]:
    """Return what a distribution's RECORD says of each of its files, by the path in site-packages."""
    rows = csv.reader((found.read_text("RECORD") or "").splitlines())
    return {
        row[0]: _Written(row[1].removeprefix("sha256="), row[2]) for row in rows if len(row) == 3
    }


def _under(top: str, written: Mapping[str, _Written]) -> dict[str, _Written]:
    return {x: y for x, y in written.items() if x.startswith(f"{top}/") and x.endswith(".py")}


def _as_written(file: Path, written: _Written) -> bool:
    """Whether a file is as it was installed; of all but a package's own only the size is compared."""
    if not written.size.isdecimal():
        return True
    if file.stat().st_size != int(written.size):
        return False
    return file.name != _INIT or _digest(file) == written.digest or not written.digest


def _digest(file: Path) -> str:
    found = hashlib.sha256(file.read_bytes()).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def _shadow(file: Path) -> bool:
    """Whether a package of the same name lies beside a module, which Python then finds instead."""
    return file.name != _INIT and (file.with_suffix("") / _INIT).is_file()


def _owners(names: list[str], start: Path | None = None) -> list[str]:
    """Return the other distributions that say a file is theirs, sorted.

    Args:
        names: Files by their paths in site-packages.
        start: The site-packages that they lie in; any by default.
    """
    found = []
    for one in metadata.distributions():
        if _name(one) == DISTRIBUTION or not _written(one).keys() & set(names):
            continue
        if start is None or Path(str(one.locate_file(""))).resolve() == start.resolve():
            found.append(_name(one))
    return sorted(set(found))


def _named(names: list[str]) -> str:
    return f"{names[0]!r}" if len(names) == 1 else f"{names[0]!r} and {len(names) - 1} more files"
