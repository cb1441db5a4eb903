"""Where runs are logged: their own files, and trackers of experiments behind extras."""

import importlib
from collections.abc import Mapping
from typing import Any

from redteam_env.game import RedteamError

EXTRAS: Mapping[str, str] = {"trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow"}
"""The extra of redteam-env that installs a tracker's library."""


def library(name: str) -> Any:
    """Import the library of a tracker.

    Raises:
        RedteamError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise RedteamError(
            f"the logger {name!r} needs {name}: pip install 'redteam-env[{EXTRAS[name]}]'"
        ) from error
