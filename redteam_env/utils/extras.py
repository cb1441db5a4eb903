"""Which extra of ours installs a module: read from the metadata that were installed with it."""

import re
from importlib import metadata
from types import MappingProxyType

from redteam_env.utils.owners import DISTRIBUTION

_MODULES = MappingProxyType({"pyyaml": "yaml"})
"""Modules that are not called as their distributions are."""
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[\w-]+)["']""")


def module_of(distribution: str) -> str:
    """Return the module that a distribution is imported by."""
    return _MODULES.get(distribution, distribution.replace("-", "_"))


def requirements() -> list[tuple[str, str]]:
    """Return the distributions that ours asks for, each with its extra, which is empty for what is always needed.

    The needs of its developers are left out.
    """
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        match, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if match is None or match["name"] == DISTRIBUTION or (extra and extra["extra"] == "dev"):
            continue
        found.append((match["name"], extra["extra"] if extra else ""))
    return found


def extra_of(module: str) -> str:
    """Return the extra that installs the package of a module; empty if none does."""
    top = module.partition(".")[0]
    return next((extra for name, extra in requirements() if module_of(name) == top), "")


def cure_of(error: BaseException | None) -> str | None:
    """Say how to get the package that an import of ours lacks, such as ``needs torch: pip install ...``.

    Args:
        error: What the import raised.

    Returns:
        The words; ``None`` if the error is another one, or no extra of ours installs the package.
    """
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    extra = extra_of(name) if name else ""
    return f"needs {name}: pip install '{DISTRIBUTION}[{extra}]'" if extra else None
