"""Warnings to whoever calls the library: they point at the user's own line; a command prints them as they are."""

import sys
import warnings

from redteam_env.utils.owners import OURS

_PACKAGES = ("redteam_env", *OURS)


class Notice(UserWarning):
    """What the library warns of."""


def warn(text: str) -> None:
    """Warn whoever called the library, at the line of the call."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 # that of inspect is the same
    while frame.f_back is not None and _is_ours(str(frame.f_globals.get("__name__"))):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _PACKAGES
