"""Helpers of the tests of adapters that others saved."""

import json

from redteam_env.game import RedteamError

CONFIG = "adapter_config.json"


def outcome(load):
    """Return what a call returns and ``None``, or ``None`` and the text of its error."""
    try:
        return load(), None
    except RedteamError as error:
        return None, str(error)


def rewrite(directory, edit):
    file = directory / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | edit))
