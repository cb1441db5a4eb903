"""How a world's base model is made: the settings, without the framework that carries them out."""

from dataclasses import dataclass
from typing import Annotated

from redteam_env.game import Count, RedteamError, Share, at_least, check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """How the base model is made.

    Attributes:
        steps: Optimiser steps.
        batch: Demonstrations a step, rounded up to a multiple of 3.
        lr: Highest learning rate of AdamW.
        warmup: Steps of linear warm-up; behind them the rate falls linearly to 0.
        weight_decay: Of AdamW, on matrices.
        hidden: Width of the model.
        layers: Its layers.
        intermediate: Width of its feed-forward layers.
        heads: Attention heads.
        practice: Share of the steps, the first ones, in which the attacker practises the rare
            tactics; after them the demonstrations are as rare as the world says. Without practice
            it would know when to try them but not how.
        practised: Share of the attacker's demonstrations with a rare tactic while it practises.
        games: Games behind each gate.
        seed: Seed of the weights, the demonstrations and the gates.
    """

    steps: Count = 2600
    batch: Count = 96
    lr: Annotated[float, at_least(0)] = 3e-3
    warmup: Annotated[int, at_least(0)] = 100
    weight_decay: Annotated[float, at_least(0)] = 0.01
    hidden: Count = 96
    layers: Count = 3
    intermediate: Count = 288
    heads: Count = 4
    practice: Share = 0.8
    practised: Share = 0.5
    games: Count = 512
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.hidden % (2 * self.heads):
            raise RedteamError(
                f"hidden = {self.hidden} cannot be divided into {self.heads} heads of even width."
            )


def limits_text(low: float, high: float) -> str:
    """Return a gate's limits in a few characters."""
    if (low, high) == (0.0, 1.0):
        return "-"
    if high == 1.0:
        return f">= {_limit(low)}"
    return f"<= {_limit(high)}" if low == 0.0 else f"{_limit(low)} to {_limit(high)}"


def rate_text(rate: float) -> str:
    """Return a rate with three decimals, or four where it is so small that three would say little."""
    return f"{rate:.4f}" if 0 < rate < 0.01 else f"{rate:.3f}"


def _limit(value: float) -> str:
    """Write a limit with two decimals, or two digits where two decimals would say little."""
    return f"{value:.2f}" if value >= 0.1 or round(value, 2) == value else f"{value:.2g}"
