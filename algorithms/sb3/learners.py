"""PPO, A2C and DQN of Stable-Baselines3 at one seat, which plays numbered moves (JMLR 22:268, 2021).

The seat is :func:`redteam_env.single_seat` behind ``TacticActions`` and ``EmbeddingObservation``
(:mod:`redteam_env.wrappers`); the other one is played by the opponent. PPO: arXiv 1707.06347; A2C:
arXiv 1602.01783; DQN: Nature 518, 2015.

A training step is ``games`` times ``exchanges`` moves of the seat: as many games, if it moves once a
game or all games are rewritten. Every step starts with a new game and with generators addressed by
(run seed, step), so a resumed run equals one that was not cut. Stable-Baselines3 draws from the
global generators of Python, NumPy and torch, which are therefore seeded in every step. Simplified:
it learns from every move, so a void game, left out elsewhere, pays 0 here.
"""

from typing import TYPE_CHECKING, ClassVar

from algorithms.sb3.config import A2CConfig, DQNConfig, PPOConfig, SB3Config, check_moves
from redteam_env.game import RedteamError

if TYPE_CHECKING:
    from algorithms.training.config import TrainConfig
    from algorithms.training.loop import Outcome

SEATS = {"attacker_only": "attacker_0", "defender_only": "defender_0"}


class _SB3:
    """What the trainer asks of an algorithm that brings a loop of its own.

    Attributes:
        Config: Its settings.
        arrangements: The arrangements it can train.
        model: The class of Stable-Baselines3.
    """

    Config: ClassVar[type[SB3Config]]
    arrangements: ClassVar[tuple[str, ...]] = tuple(SEATS)
    model: ClassVar[str]

    @classmethod
    def train(cls, config: "TrainConfig") -> "Outcome":
        """Train one seat until all steps are done or Ctrl-C is pressed.

        Args:
            config: The run; its arrangement says which seat learns.

        Returns:
            How it ended.

        Raises:
            RedteamError: If an option does not apply or anything is wrong with the game, the
                opponent or the run directory, or Stable-Baselines3 is missing.
        """
        name = config.run.algorithm
        if config.policy.arrangement not in cls.arrangements:
            raise RedteamError(
                f"{name} trains one seat, but the arrangement is {config.policy.arrangement}; give "
                f"--arrangement {' or '.join(cls.arrangements)}, and the other seat's player as "
                "--opponent."
            )
        if config.run.group_size != 1:
            raise RedteamError(
                f"group_size is {config.run.group_size}, but {name} compares no games of one seed; "
                "leave it out."
            )
        check_moves(config)
        try:
            import stable_baselines3  # noqa: F401, PLC0415 - an extra; the settings need none of it
        except ModuleNotFoundError as error:
            raise RedteamError(
                f"{name} needs Stable-Baselines3: pip install 'redteam-env[sb3]'."
            ) from error
        from algorithms.sb3.run import run_seat  # noqa: PLC0415 - imports Stable-Baselines3

        return run_seat(config, cls.model, SEATS[config.policy.arrangement])


class PPO(_SB3):
    """Proximal policy optimisation."""

    Config = PPOConfig
    model = "PPO"


class A2C(_SB3):
    """Advantage actor-critic."""

    Config = A2CConfig
    model = "A2C"


class DQN(_SB3):
    """Deep Q-learning."""

    Config = DQNConfig
    model = "DQN"
