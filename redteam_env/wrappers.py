"""Wrappers of :func:`redteam_env.single_seat` for Stable-Baselines3 and other classical learners."""

from redteam_env.envs.moves import Moves, Templates, read_templates
from redteam_env.envs.wrappers import EmbeddingObservation, TacticActions

__all__ = ["EmbeddingObservation", "Moves", "TacticActions", "Templates", "read_templates"]
