"""The JSON cards beside saved weights: what they are and which base they belong to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.models import LoadedModel
from redteam_env.game import RedteamError
from redteam_env.utils.files import read_record

POLICY_FILE = "policy.json"
WEIGHTS_FILE = "redteam.json"


def read_card(file: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read the JSON card beside saved weights.

    Args:
        file: The card.
        needed: Keys it must have.

    Raises:
        RedteamError: If it is missing, no JSON object, or lacks a key.
    """
    return read_record(file, needed=needed, remedy="Name a folder that this library saved.")


def check_base(directory: Path, card: dict[str, Any], base: LoadedModel) -> None:
    """Refuse weights that were trained on another base.

    Raises:
        RedteamError: If the fingerprints differ.
    """
    if card.get("base_fingerprint") != base.fingerprint:
        raise RedteamError(
            f"The adapter in {str(directory)!r} was trained on another base: {card.get('model')!r} "
            f"with fingerprint {card.get('base_fingerprint')}, while {base.spec!r} has "
            f"{base.fingerprint}. Give the base it was trained on as --model."
        )
