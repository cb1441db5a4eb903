"""The worlds by name: the same game, in which more or less is left to discover.

What a self-play run has to discover are the rare forms of a name. How rare they are for the base
attacker decides how long that takes: the defender meets a form as often as the attacker tries it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from redteam_env.worlds.apothecary.config import WorldConfig
from redteam_env.worlds.pretraining import PretrainConfig

VERSION = 1
"""Counts changes of the worlds; results of different versions are not compared."""

APOTHECARY = "apothecary"
EASY = "apothecary-easy"
HARD = "apothecary-hard"
COUPLED = "apothecary-coupled"
LEVELS: Mapping[str, WorldConfig] = MappingProxyType(
    {
        APOTHECARY: WorldConfig(),
        EASY: WorldConfig(rare_share=0.12),
        HARD: WorldConfig(rare_share=0.01),
        COUPLED: WorldConfig(coupled=True),
    }
)
"""The configuration of each named world. The base attacker tries each rare form in 3 % of its rewrites in
the easy one, in .75 % in the default one, in .25 % in the hard one."""

PRETRAINING: Mapping[str, PretrainConfig] = MappingProxyType(
    {
        **dict.fromkeys(LEVELS, PretrainConfig()),
        # practised longer and shown rarely for fewer steps, so that it can still play what it hardly ever tries
        HARD: PretrainConfig(steps=3200, practice=0.85),
    }
)
"""How the base model of each named world is made."""


def versioned(name: str) -> str:
    """Return a world's name with its version, such as ``apothecary-v1``."""
    return f"{name}-v{VERSION}"
