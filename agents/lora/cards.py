"""The JSON cards beside saved weights: what they are and which base they belong to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any

from agents.lora.adapter_config import cut, is_place, shown
from agents.models import LoadedModel
from redteam_env.game import RedteamError
from redteam_env.utils.files import read_record

POLICY_FILE = "policy.json"
WEIGHTS_FILE = "redteam.json"
_KINDS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "model": (str,),
        "revision": (str, NoneType),
        "base_fingerprint": (str,),
        "version": (int,),
        "arrangement": (str,),
        "weights": (dict,),
        "full": (bool,),
        "versions": (dict,),
        "anchored": (bool,),
        "parts": (dict,),
    }
)
"""What the entries of a card are, just so: true is no number."""
_REMEDY = "Name a folder that this library saved."


def read_card(file: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read the JSON card beside saved weights.

    Args:
        file: The card.
        needed: Keys it must have.

    Raises:
        RedteamError: If it is missing, no JSON object, lacks a key, or holds something else under one.
    """
    card = read_record(file, needed=needed, remedy=_REMEDY)
    for key, kinds in _KINDS.items():
        if key in card and type(card[key]) not in kinds:
            raise _damaged(file, key, card[key])
    for key in ("model", "revision"):
        if not is_place(card.get(key) or ""):
            raise _damaged(file, key, card[key])
    if any(type(version) is not int for version in card.get("versions", {}).values()):
        raise _damaged(file, "versions", card["versions"])
    return card


def _damaged(file: Path, key: str, value: Any) -> RedteamError:
    return RedteamError(f"{str(file)!r} is damaged: {key} is {shown(value)}. {_REMEDY}")


def read_policy(directory: Path, *needed: str) -> dict[str, Any]:
    """Read the card of a policy's saved weights.

    Args:
        directory: The folder that the policy was saved in.
        needed: Keys that the card must have, other than ``weights``.

    Raises:
        RedteamError: As :func:`read_card`, or if a role's weights are not in a folder in the directory.
    """
    file = directory / POLICY_FILE
    card = read_card(file, ("weights", *needed))
    for role, name in (*card["weights"].items(), *card.get("parts", {}).items()):
        if not isinstance(name, str) or name in {"", ".", ".."} or set(name) & set("/\\"):
            raise RedteamError(
                f"{str(file)!r} is refused: the weights of {cut(role)!r} are {shown(name)}, which is no "
                f"folder beside it. {_REMEDY}"
            )
    return card


def check_base(
    directory: Path, card: dict[str, Any], base: LoadedModel, *, otherwise: str = ""
) -> None:
    """Refuse weights that were trained on another base.

    Args:
        directory: Their folder.
        card: The card that tells the base they were trained on.
        base: What they are to be put on.
        otherwise: What else can be done about it, for the message.

    Raises:
        RedteamError: If the fingerprints differ.
    """
    if card.get("base_fingerprint") != base.fingerprint:
        raise RedteamError(
            f"The adapter in {str(directory)!r} was trained on another base: {shown(card.get('model'))} "
            f"with fingerprint {cut(str(card.get('base_fingerprint')))}, while {base.spec!r} has "
            f"{base.fingerprint}. Give the base it was trained on as --model{otherwise}."
        )
