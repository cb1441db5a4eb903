"""The faces of the game: PettingZoo (AEC and parallel) and Gymnasium (one seat)."""

from redteam_env.envs.aec import RedTeamAEC
from redteam_env.envs.config import EnvConfig, SeatConfig
from redteam_env.envs.parallel import RedTeamParallel
from redteam_env.envs.session import Session
from redteam_env.envs.single_seat import SingleSeat, single_seat
from redteam_env.envs.spaces import UnicodeText
from redteam_env.envs.vector import GameStep, VectorGame

__all__ = [
    "EnvConfig",
    "GameStep",
    "RedTeamAEC",
    "RedTeamParallel",
    "SeatConfig",
    "Session",
    "SingleSeat",
    "UnicodeText",
    "VectorGame",
    "single_seat",
]
