"""Self-play red teaming of language models as a game.

An attacker rewrites a seed request, a defender answers, a judge reads the public dialogue.

Importing it registers the environments with Gymnasium and PettingZoo; every name is imported when it is
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redteam_env.registration import register_gymnasium, register_pettingzoo

if TYPE_CHECKING:
    from redteam_env import numeric_v0, redteam_v0, rollout, testing, wrappers
    from redteam_env.envs import (
        EnvConfig,
        GameStep,
        SeatConfig,
        UnicodeText,
        VectorGame,
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
    from redteam_env.playing import crossplay, evaluate, single_seat
    from redteam_env.protocols import (
        Agent,
        Algorithm,
        DataCard,
        Judge,
        Reply,
        SeedSource,
        TurnRequest,
    )
    from redteam_env.redteam_v0 import env, parallel_env, raw_env
    from redteam_env.registry import register

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
    "crossplay",
    "env",
    "evaluate",
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
    _MODULES = ("numeric_v0", "redteam_v0", "rollout", "testing", "wrappers")
    _HOMES = {
        "envs": "EnvConfig GameStep SeatConfig UnicodeText VectorGame",
        "game": "ATTACKER DEFENDER JUDGE PRESETS Dialogue Episode Exchange Game GameConfig Generation Line RedteamError RewardTable Seed Thinking Turn Verdict",
        "playing": "crossplay evaluate single_seat",
        "protocols": "Agent Algorithm DataCard Judge Reply SeedSource TurnRequest",
        "redteam_v0": "env parallel_env raw_env",
        "registry": "register",
    }
    _HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        """Import a public name."""
        if name in _MODULES:
            return import_module(f"redteam_env.{name}")
        if name in _HOME:
            found = getattr(import_module(f"redteam_env.{_HOME[name]}"), name)
            globals()[name] = found
            return found
        if name == "__version__":
            return import_module("importlib.metadata").version("redteam-env")
        raise AttributeError(f"module 'redteam_env' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the public names, too, so that they can be completed."""
        return sorted({*globals(), *__all__})
