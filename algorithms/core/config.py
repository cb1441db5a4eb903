"""Settings that policy-gradient algorithms share; each adds its own."""

from dataclasses import dataclass
from typing import Annotated, Literal

from algorithms.core.advantages import SCALE_FLOOR
from algorithms.core.schedules import Schedule, check_schedule
from redteam_env.game import (
    Count,
    RedteamError,
    Share,
    above,
    at_least,
    check_fields,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGradientConfig:
    """Settings that all policy-gradient algorithms share.

    Attributes:
        lr: AdamW's learning rate. Self-RedTeam trains whole models at 5e-7; LoRA needs 10-100
            times that.
        attacker_lr: The attacker's, if it differs.
        defender_lr: The defender's, if it differs.
        kl: Coefficient of the KL penalty, reward per nat.
        attacker_kl: The attacker's, if it differs.
        defender_kl: The defender's, if it differs.
        entropy_bonus: Reward per nat of entropy of each token's distribution, in the loss; keeps a
            policy from settling on what pays now (A3C, arXiv 1602.01783, sec. 4; 0.01 there).
        attacker_entropy_bonus: The attacker's, if it differs.
        defender_entropy_bonus: The defender's, if it differs.
        reward_clip: Rewards are clipped to this, up and down.
        epochs: Passes over a step's samples.
        minibatch: Samples in one optimiser step; 0 for all of a training step.
        micro_batch: Most samples in one forward pass; changes memory, not the gradient.
        micro_tokens: Most tokens in one forward pass, padding included (but at least one sample);
            changes memory, not the gradient.
        max_grad_norm: Gradients are scaled down to this norm.
        warmup_steps: Steps over which the learning rate rises linearly.
        lr_schedule: What the learning rate does after that: constant, or fall to lr_floor along a line
            (linear) or half a cosine wave (cosine, arXiv 1608.03983), so that late steps undo less.
        lr_steps: Steps after which linear or cosine has reached lr_floor, usually the run's steps; it
            stays there in a run that is longer or prolonged. 0 for constant.
        lr_floor: Share of the learning rate that linear or cosine falls to.
        importance_cap: Weigh each token by trainer's over sampler's probability, at most this (2.0
            is usual); by default off.
        sft_file: JSON-lines file of supervised examples, each with prompt and response, perhaps with a
            thought, and for the attacker's with role = attacker: its prompt is a seed, harmful unless
            harmful = false. redteam-env data sft makes the defender's.
        sft_coefficient: Weight of the supervised loss, per token of a role, beside the game's.
        sft_batch: Supervised examples of each role in one optimiser step.
        sft_steps: First training steps that learn from supervised examples alone, a warm start; games
            are played and logged, and weights without examples stay as they are.
    """

    lr: Annotated[float, at_least(0)] = 5e-5
    attacker_lr: Annotated[float | None, at_least(0)] = None
    defender_lr: Annotated[float | None, at_least(0)] = None
    kl: Annotated[float, at_least(0)] = 0.01
    attacker_kl: Annotated[float | None, at_least(0)] = None
    defender_kl: Annotated[float | None, at_least(0)] = None
    entropy_bonus: Annotated[float, at_least(0)] = 0.0
    attacker_entropy_bonus: Annotated[float | None, at_least(0)] = None
    defender_entropy_bonus: Annotated[float | None, at_least(0)] = None
    reward_clip: Annotated[float, above(0)] = 10.0
    epochs: Count = 1
    minibatch: Annotated[int, at_least(0)] = 32
    micro_batch: Count = 64
    micro_tokens: Count = 2048
    max_grad_norm: Annotated[float, above(0)] = 1.0
    warmup_steps: Annotated[int, at_least(0)] = 0
    lr_schedule: Schedule = "constant"
    lr_steps: Annotated[int, at_least(0)] = 0
    lr_floor: Share = 0.0
    importance_cap: Annotated[float | None, above(0)] = None
    sft_file: str | None = None
    sft_coefficient: Annotated[float, above(0)] = 1.0
    sft_batch: Count = 8
    sft_steps: Annotated[int, at_least(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sft_steps and self.sft_file is None:
            raise RedteamError(
                f"sft_steps is {self.sft_steps}, but there is no sft_file to learn from; give one."
            )
        check_schedule(self.lr_schedule, self.lr_steps, self.lr_floor, warmup=self.warmup_steps)

    def of_role(self, what: Literal["lr", "kl", "entropy_bonus"], role: str) -> float:
        """Return a role's learning rate, KL coefficient or entropy bonus."""
        own = getattr(self, f"{role}_{what}", None)
        return float(getattr(self, what) if own is None else own)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardisedConfig(PolicyGradientConfig):
    """Settings of algorithms that divide advantages by the scale of what was paid.

    Attributes:
        scale_floor: The least that advantages are divided by. Once nearly all games pay the same, the
            KL term's noise sets the scale and becomes advantages of size 1; a floor in the order of a
            reward, such as 0.5, keeps them small.
    """

    scale_floor: Annotated[float, above(0)] = SCALE_FLOOR


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCriticConfig(StandardisedConfig):
    """Settings of algorithms with a critic.

    Attributes:
        gae_lambda: Weight of later steps in the advantage, in [0, 1].
        value_lr: AdamW's learning rate of the value heads; they are scaled so that one rate fits
            models of any width.
        value_epochs: Passes over a step's samples that fit the value heads.
    """

    gae_lambda: Share = 0.95
    value_lr: Annotated[float, above(0)] = 0.1
    value_epochs: Count = 2
