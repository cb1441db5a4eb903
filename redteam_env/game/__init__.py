"""The rules of the attacker-defender-judge game as pure functions, without any framework."""

from redteam_env.game.checks import (
    Count,
    Share,
    above,
    at_least,
    between,
    check_fields,
    check_values,
    multiple_of,
)
from redteam_env.game.config import GameConfig, parse_thinking
from redteam_env.game.errors import RedteamError, unknown_name
from redteam_env.game.prompts import Framed, Prompts, load_prompts, prompt_sets
from redteam_env.game.records import (
    ATTACKER,
    DEFENDER,
    JUDGE,
    Content,
    Dialogue,
    Episode,
    Exchange,
    Generation,
    Line,
    Seed,
    Turn,
    Verdict,
    public_dialogue,
    role_of,
)
from redteam_env.game.rewards import PRESETS, RewardTable, reward_table, signs
from redteam_env.game.rules import Game, Messages
from redteam_env.game.state import GameState
from redteam_env.game.success import attack_success, goal_reached, request_kept
from redteam_env.game.thinking import (
    PREFILL,
    Split,
    Spoken,
    Thinking,
    split_action,
    take_thoughts,
)
from redteam_env.game.verdicts import (
    WILDGUARD_LABELS,
    parse_wildguard,
    read_dialogue,
    three_lines,
    written_dialogue,
)

__all__ = [
    "ATTACKER",
    "DEFENDER",
    "JUDGE",
    "PREFILL",
    "PRESETS",
    "WILDGUARD_LABELS",
    "Content",
    "Count",
    "Dialogue",
    "Episode",
    "Exchange",
    "Framed",
    "Game",
    "GameConfig",
    "GameState",
    "Generation",
    "Line",
    "Messages",
    "Prompts",
    "RedteamError",
    "RewardTable",
    "Seed",
    "Share",
    "Split",
    "Spoken",
    "Thinking",
    "Turn",
    "Verdict",
    "above",
    "at_least",
    "attack_success",
    "between",
    "check_fields",
    "check_values",
    "goal_reached",
    "load_prompts",
    "multiple_of",
    "parse_thinking",
    "parse_wildguard",
    "prompt_sets",
    "public_dialogue",
    "read_dialogue",
    "request_kept",
    "reward_table",
    "role_of",
    "signs",
    "split_action",
    "take_thoughts",
    "three_lines",
    "unknown_name",
    "written_dialogue",
]
