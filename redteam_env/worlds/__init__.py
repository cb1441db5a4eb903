"""Controlled worlds: games whose harm, refusal and faithfulness are known exactly.

A world has a language of its own, a judge that decodes it, demonstrations to pretrain a small model
on, and knobs. There is one so far: :mod:`redteam_env.worlds.apothecary`. One word,
``--world apothecary``, stands for all settings that belong together.
"""

from redteam_env.worlds.embedded import MODELS, build_game, embedded_model, prompts_path
from redteam_env.worlds.fitting import check_fit
from redteam_env.worlds.pretraining import PretrainConfig
from redteam_env.worlds.resolve import is_invented, world_options

__all__ = [
    "MODELS",
    "PretrainConfig",
    "build_game",
    "check_fit",
    "embedded_model",
    "is_invented",
    "prompts_path",
    "world_options",
]
