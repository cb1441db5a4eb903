"""Instruction texts that others published, read out of their own files.

Such texts are not ours to copy. A card in ``published/`` says in which file they stand and which of its
constants is which text; the user has the file and names it: ``--prompts self_redteam:PATH/prompts.py``. To
add a paper, add a card.
"""

from importlib import resources
from pathlib import Path
from typing import Any

from redteam_env.game import Prompts, RedteamError, unknown_name
from redteam_env.game.prompts import REQUEST_SLOT
from redteam_env.utils.constants import constants_in
from redteam_env.utils.reading import parse_toml, read_text

MOST_BYTES = 2**20
_CARDS = resources.files("redteam_env.worlds") / "published"
_ENDING = ".toml"


def published_sets() -> tuple[str, ...]:
    """Return the names of the sets that there are cards for."""
    names = [x.name for x in _CARDS.iterdir()]
    return tuple(sorted(x.removesuffix(_ENDING) for x in names if x.endswith(_ENDING)))


def published_prompts(name: str, file: str) -> Prompts:
    """Read a published set of instruction texts.

    The file is read as text; nothing in it is executed.

    Args:
        name: The set, such as ``self_redteam``.
        file: The file that its card names, wherever the user has it.

    Returns:
        The texts. The places of the original are places ``{request}``; a ``thinking`` text that the set
        lacks is empty: its rules tell the format themselves.

    Raises:
        RedteamError: If there is no such set, or the file is missing, no Python, or without a constant.
    """
    if name not in published_sets():
        raise unknown_name("published prompts", name, published_sets())
    card = parse_toml((_CARDS / f"{name}{_ENDING}").read_text(encoding="utf-8"), place=name)
    wanted = f"The prompts {name!r} stand in {card['source']}"
    if not file.strip():
        raise RedteamError(f"{wanted}; get it and give --prompts {name}:FILE.")
    try:
        source = read_text(Path(file).expanduser(), most=MOST_BYTES)
    except OSError as error:
        raise RedteamError(f"{file!r} cannot be read: {error.strerror}. {wanted}.") from error
    constants = constants_in(source, repr(file))
    missing = [x for x in card["constants"].values() if x not in constants]
    if missing:
        raise RedteamError(f"{file!r} defines no string {missing[0]}. {wanted}; give that file.")
    texts = {x: _with_places(constants[y], card) for x, y in card["constants"].items()}
    return Prompts({"thinking": "", **texts, **card.get("texts", {})})


def _with_places(text: str, card: dict[str, Any]) -> str:
    for slot in card["slots"]:
        text = text.replace(slot, REQUEST_SLOT)
    return text.strip()
