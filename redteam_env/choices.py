"""What an option that names something may be: plug-ins, and the cards that come with the library.

Names come from the registry and from the names of files, what is said of each out of docstrings and cards that
are read as files: no plug-in is imported, and nothing of torch.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType

from redteam_env import registry
from redteam_env.game import RedteamError, prompt_sets
from redteam_env.utils.docs import static_summary
from redteam_env.utils.places import names_code
from redteam_env.utils.text import escape_controls

KINDS_OF_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("attacker", "attackers", "defender", "defenders", "opponent", "judge_player"),
                *("scripted_attackers", "scripted_defenders"),
            ),
            "agents",
        ),
        **dict.fromkeys(("seeds", "source"), "seeds"),
        "judge": "judges",
        **dict.fromkeys(("algorithm", "algorithms"), "algorithms"),
        "policy": "policies",
        "opponents": "opponents",
        "callback": "callbacks",
        "logger": "loggers",
        "world": "worlds",
        "recipe": "recipes",
        "attack": "attacks",
        "embedder": "embedders",
        **dict.fromkeys(("suite", "suites", "eval_suites", "defence_suites"), "suites"),
    }
)
"""The options that name plug-ins, with the kind of these."""
CODE = re.compile(r"(?P<place>[^?:]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")
"""How a plug-in is named by its code: ``mine.py:Judge`` or ``package.module:Judge``."""

FORMS = ("attack", "mixed", "mixture")
"""What stands before the colon of agents that are no plug-ins."""


def code_in(option: str, text: str) -> str | None:
    """Return the part of an option's text that names code, and no plug-in that is known; ``None`` without one.

    Args:
        option: The option, such as ``judge``.
        text: Its text, perhaps several names with commas between them.
    """
    if option not in KINDS_OF_OPTIONS:
        return None
    known = registry.names(KINDS_OF_OPTIONS[option])
    for part in text.split(","):
        spec = part.partition("?")[0].strip()
        if spec in known:
            continue
        if names_code(spec):
            return spec
        code = CODE.fullmatch(spec)
        if code is None or code["place"] in (*known, *FORMS):
            continue
        if "." in code["place"] or find_spec(code["place"]) is not None:
            return spec
    return None


def choices(kind: str) -> tuple[str, ...]:
    """Return the names of all of a kind, sorted.

    Args:
        kind: A kind of plug-ins, such as ``judges``, or ``prompts`` or ``models``.
    """
    names = set(_built_in(kind))
    if kind in registry.KINDS and kind != "recipes":  # of which a plug-in is a folder of them
        names |= {x for x in registry.names(kind) if (kind, x) != ("agents", registry.LOADER)}
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
