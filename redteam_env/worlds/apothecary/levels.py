"""The worlds by name: the same game, in which more or less is left to discover.

What a self-play run has to discover are the rare forms of a name. How rare they are for the base
attacker decides how long that takes: the defender meets a form as often as the attacker tries it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from redteam_env.worlds.apothecary.config import WorldConfig

VERSION = 1
"""Counts changes of the worlds; results of different versions are not compared."""

APOTHECARY = "apothecary"
EASY = "apothecary-easy"
COUPLED = "apothecary-coupled"
LEVELS: Mapping[str, WorldConfig] = MappingProxyType(
    {
        APOTHECARY: WorldConfig(),
        EASY: WorldConfig(rare_share=0.12),
        COUPLED: WorldConfig(coupled=True),
    }
)
"""The configuration of each named world. In an easy one each rare form is tried in 3 % of the base
attacker's rewrites, in the default one in .75 %."""


def versioned(name: str) -> str:
    """Return a world's name with its version, such as ``apothecary-v1``."""
    return f"{name}-v{VERSION}"
