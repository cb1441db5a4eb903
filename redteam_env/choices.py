"""What an option that names something may be: plug-ins, and the cards that come with the library.

Names come from the registry and from the names of files, what is said of each out of docstrings and cards that
are read as files: no plug-in is imported, and nothing of torch.
"""

import re
from functools import cache

from redteam_env import registry
from redteam_env.game import RedteamError, prompt_sets
from redteam_env.utils.docs import static_summary
from redteam_env.utils.text import escape_controls


def choices(kind: str) -> tuple[str, ...]:
    """Return the names of all of a kind, sorted.

    Args:
        kind: A kind of plug-ins, such as ``judges``, or ``prompts`` or ``models``.
    """
    names = set(_built_in(kind))
    if kind in registry.KINDS and kind != "recipes":  # of which a plug-in is a folder of them
        names |= set(registry.names(kind))
    return tuple(sorted(names))


@cache
def _built_in(kind: str) -> tuple[str, ...]:
    """Return the names of a kind that are no plug-ins."""
    names: tuple[str, ...] = ()
    if kind == "judges":
        from redteam_env.judges.card import card_names  # noqa: PLC0415 - imports more than help needs

        names = card_names()
    elif kind == "suites":
        from redteam_env.suites.card import card_names, group_names  # noqa: PLC0415 - the same

        names = (*card_names(), *group_names())
    elif kind == "recipes":
        from redteam_env.recipes import recipe_names  # noqa: PLC0415 - reads every card

        names = recipe_names()
    elif kind == "prompts":
        names = prompt_sets()
    elif kind == "models":
        names = tuple(registry.settings("policies", "lora").KNOWN)
    return names


def summary(kind: str, name: str) -> str:
    """Return what is said of a plug-in or a card in a line, without importing a plug-in.

    Args:
        kind: Such as ``algorithms``.
        name: Its name.
    """
    if kind in registry.KINDS and kind != "recipes" and name in registry.names(kind):
        text = static_summary(registry.target(kind, name)) or ""
        plain = re.sub(r":\w+:`[^`]*?(\w+)`", r"\1", text).replace("`", "").removeprefix("Return ")
    else:
        plain = _of_card(kind, name)
    return escape_controls(plain[:1].upper() + plain[1:])


def _of_card(kind: str, name: str) -> str:
    try:
        if kind == "judges":
            from redteam_env.judges.card import read_card  # noqa: PLC0415 - imports more than help needs

            return read_card(name).summary
        if kind == "recipes":
            from redteam_env.recipes import find_recipe  # noqa: PLC0415 - the same

            return find_recipe(name).title
    except RedteamError:  # it is listed, and its command says what is wrong with it
        pass
    return ""
