"""How the learning rate changes over a run: it rises while warming up, then stays or falls."""

import math
from typing import Literal

from redteam_env.game import RedteamError

Schedule = Literal["constant", "linear", "cosine"]


def rate_share(
    done: int,
    *,
    warmup: int = 0,
    schedule: Schedule = "constant",
    steps: int = 0,
    floor: float = 0.0,
) -> float:
    """Return the share of the learning rate that a step is taken with.

    It rises linearly over the warm-up. Then, from 1, it falls to the floor along a line or along half a
    cosine wave (SGDR without restarts, arXiv 1608.03983, equation 5), and stays there.

    Args:
        done: Steps done before this one.
        warmup: Steps of the warm-up; the last of them has the whole rate.
        schedule: How it falls.
        steps: Steps done when the floor is reached, those of the warm-up included; more than these.
        floor: Share of the rate in the end.
    """
    if schedule == "constant" or done < warmup:
        return min(1.0, (done + 1) / max(1, warmup))
    way = min(1.0, (done - warmup) / (steps - warmup))
    left = 1 - way if schedule == "linear" else (1 + math.cos(math.pi * way)) / 2
    return floor + (1 - floor) * left


def check_schedule(schedule: Schedule, steps: int, floor: float, *, warmup: int) -> None:
    """Check that settings of :class:`algorithms.PolicyGradientConfig` go together.

    Args:
        schedule: Its ``lr_schedule``.
        steps: Its ``lr_steps``.
        floor: Its ``lr_floor``.
        warmup: Its ``warmup_steps``.

    Raises:
        RedteamError: If there are no steps to fall over, or numbers that a constant rate has no use for.
    """
    if schedule == "constant":
        if steps or floor:
            raise RedteamError(
                f"lr_steps is {steps} and lr_floor {floor}, but lr_schedule is 'constant'; choose "
                "linear or cosine, or leave them out."
            )
    elif steps <= warmup:
        raise RedteamError(
            f"lr_steps is {steps}, but lr_schedule {schedule!r} falls from step {warmup} "
            "(warmup_steps) to it; give more, such as the run's steps."
        )
