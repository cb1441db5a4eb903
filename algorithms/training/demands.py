"""What an algorithm demands of a run's settings: games that share a seed, and how turns are credited."""

from typing import Any

from redteam_env.game import GameConfig, RedteamError


def check_group(algorithm: str, factory: Any, group_size: int) -> None:
    """Check that as many games share a seed as an algorithm needs.

    Args:
        algorithm: Its name.
        factory: What its entry point names.
        group_size: Games that share a seed.

    Raises:
        RedteamError: If they are fewer.
    """
    least = getattr(factory, "least_group", 1)
    if group_size < least:
        raise RedteamError(
            f"{algorithm} compares games of one seed, at least {least}, but group_size is "
            f"{group_size}; give --group-size {least} or more, and a multiple of it as --games."
        )


def check_credit(algorithm: str, factory: Any, game: GameConfig) -> None:
    """Check that an algorithm can learn from turns that are credited each with its own.

    Args:
        algorithm: Its name.
        factory: What its entry point names.
        game: The game.

    Raises:
        RedteamError: If it cannot, but the game pays so.
    """
    if game.credit == "turn" and not getattr(factory, "turn_credit", False):
        raise RedteamError(
            f"credit is 'turn', but {algorithm} learns from whole games; leave it out, or train with "
            "another --algorithm, such as reinforce_pp, grpo or ppo."
        )
