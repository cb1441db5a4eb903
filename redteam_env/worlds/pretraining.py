"""How a world's base model is made: the settings, without the framework that carries them out."""

import math
from dataclasses import dataclass

from redteam_env.game import RedteamError


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
        games: Games behind each gate.
        seed: Seed of the weights, the demonstrations and the gates.
    """

    steps: int = 2400
    batch: int = 96
    lr: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.01
    hidden: int = 96
    layers: int = 3
    intermediate: int = 288
    heads: int = 4
    games: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "layers", "intermediate", "heads", "games"):
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")
        if self.hidden % (2 * self.heads):
            raise RedteamError(
                f"hidden = {self.hidden} cannot be divided into {self.heads} heads of even width."
            )
        for name in ("lr", "weight_decay", "warmup"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RedteamError(f"{name} is {value}; give a number of at least 0.")


def limits_text(low: float, high: float) -> str:
    """Return a gate's limits in a few characters."""
    if (low, high) == (0.0, 1.0):
        return "-"
    if high == 1.0:
        return f">= {low:.2f}"
    return f"<= {high:.2f}" if low == 0.0 else f"{low:.2f} to {high:.2f}"
