"""What users test their own variants of the game with."""

from redteam_env.testing.check import CheckReport, check_game

__all__ = ["CheckReport", "check_game"]
