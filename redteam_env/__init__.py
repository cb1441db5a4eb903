"""Self-play red teaming of language models as a game.

An attacker rewrites a seed request, a defender answers, a judge reads the public dialogue.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redteam_env import redteam_v0, rollout
from redteam_env.envs import (
    EnvConfig,
    GameStep,
    SeatConfig,
    UnicodeText,
    VectorGame,
    register_gymnasium,
    register_pettingzoo,
    single_seat,
)
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    JUDGE,
    PRESETS,
    Dialogue,
    Episode,
    Exchange,
    Game,
    GameConfig,
    Generation,
    Line,
    RedteamError,
    RewardTable,
    Seed,
    Thinking,
    Turn,
    Verdict,
)
from redteam_env.protocols import Agent, Algorithm, DataCard, Judge, Reply, SeedSource, TurnRequest
from redteam_env.redteam_v0 import env, parallel_env, raw_env
from redteam_env.registry import register

if TYPE_CHECKING:
    from redteam_env import numeric_v0, testing, wrappers

    __version__: str

__all__ = [
    "ATTACKER",
    "DEFENDER",
    "JUDGE",
    "PRESETS",
    "Agent",
    "Algorithm",
    "DataCard",
    "Dialogue",
    "EnvConfig",
    "Episode",
    "Exchange",
    "Game",
    "GameConfig",
    "GameStep",
    "Generation",
    "Judge",
    "Line",
    "RedteamError",
    "Reply",
    "RewardTable",
    "SeatConfig",
    "Seed",
    "SeedSource",
    "Thinking",
    "Turn",
    "TurnRequest",
    "UnicodeText",
    "VectorGame",
    "Verdict",
    "__version__",
    "env",
    "numeric_v0",
    "parallel_env",
    "raw_env",
    "redteam_v0",
    "register",
    "rollout",
    "single_seat",
    "testing",
    "wrappers",
]

register_pettingzoo()
register_gymnasium()

if not TYPE_CHECKING:  # a type checker should see exactly the names above

    def __getattr__(name: str) -> Any:
        """Import what is seldom needed when it is first asked for."""
        if name in {"numeric_v0", "testing", "wrappers"}:
            return import_module(f"redteam_env.{name}")
        if name == "__version__":
            return import_module("importlib.metadata").version("redteam-env")
        raise AttributeError(f"module 'redteam_env' has no attribute {name!r}")
