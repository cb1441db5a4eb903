"""What refusing everything pays under each reward table, in the tabular game of the world.

Anchored Bipolicy Self-Play (arXiv 2605.08427) holds that self-play may end in trivial defenders. Whether
one pays is a property of the rewards, and can be counted without training anything.
"""

from collections.abc import Mapping

from redteam_env.game import PRESETS, RewardTable, reward_table
from redteam_env.worlds.apothecary import World
from redteam_env.worlds.apothecary.tabular.game import (
    ALWAYS,
    BENIGN,
    HARMFUL,
    NEVER,
    ORACLE,
    Table,
    TacticsGame,
)

RULES = (ALWAYS, NEVER, ORACLE)
TRAINED = "as trained here"
RAW, DRESSED = "raw", "dressed"


def refusing(world: World, trained: RewardTable) -> dict[str, dict[str, dict[str, float]]]:
    """Return what defenders by rule expect of a game, under each preset and under the table trained with.

    Args:
        world: The world.
        trained: The reward table of the runs.

    Returns:
        For each table and kind of play the defender's expected reward by rule. Play is ``raw`` (requests as
        they stand) or ``dressed`` (faithful rewrites, every form of the name and decoration equally often).
    """
    twin = TacticsGame(world, rules=RULES)
    tables: Mapping[str, RewardTable] = {
        **{name: reward_table(name) for name in PRESETS},
        TRAINED: trained,
    }
    found = {}
    for name, table in tables.items():
        raw = twin.bimatrix(table, rewrite_fraction=0.0)
        played = twin.bimatrix(table)
        faithful = [
            k
            for k, (harmful, benign) in enumerate(played.rows)
            if harmful.startswith(f"{HARMFUL}:") and benign.startswith(f"{BENIGN}:")
        ]
        found[name] = {
            RAW: _by_rule(raw.defender[0]),
            DRESSED: _by_rule(played.defender[faithful].mean(axis=0)),
        }
    return found


def _by_rule(rewards: Table) -> dict[str, float]:
    return {rule: float(x) for rule, x in zip(RULES, rewards, strict=True)}
