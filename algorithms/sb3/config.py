"""The settings of what Stable-Baselines3 trains; reading them imports none of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from redteam_env.game import Count, RedteamError, Share, above, at_least, check_fields

if TYPE_CHECKING:
    from algorithms.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3Config:
    """Settings of all three algorithms.

    Attributes:
        learning_rate: Adam's or RMSprop's.
        gamma: Discount a move, in [0, 1]; without effect in games of one exchange.
        hidden: Width of the two hidden layers.
        embedder: How texts become features: auto (MiniLM where its package is installed, else
            hashing), minilm, hashing, or an installed one.
        templates: Text file with the seat's moves, one template a line, {text} where the request
            belongs; by default the controlled world's tactics or modes under its judge, else a few
            English templates.
        most_tactics: Most tactics that one move of the controlled world's attacker combines.
        side_by_side: Most games played at a time, so that an opponent is asked once for all of them.
    """

    learning_rate: Annotated[float, above(0)] = 1e-3
    gamma: Share = 0.99
    hidden: Count = 64
    embedder: str = "auto"
    templates: str | None = None
    most_tactics: Count = 1
    side_by_side: Count = 32

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicyConfig(SB3Config):
    """Settings of PPO and A2C.

    Attributes:
        n_steps: Moves an update; by default all of a training step.
        gae_lambda: Weight of later moves in the advantage, in [0, 1].
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Gradients are scaled down to this norm.
    """

    n_steps: Count | None = None
    gae_lambda: Share = 1.0
    ent_coef: Annotated[float, at_least(0)] = 0.01
    vf_coef: Annotated[float, at_least(0)] = 0.5
    max_grad_norm: Annotated[float, above(0)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Settings of sb3_ppo.

    Attributes:
        batch_size: Moves a minibatch; by default all of an update.
        n_epochs: Passes over an update's moves.
        clip_range: Width of the clipped probability ratio.
    """

    batch_size: Annotated[int | None, at_least(2)] = None
    n_epochs: Count = 10
    clip_range: Annotated[float, above(0)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class A2CConfig(OnPolicyConfig):
    """Settings of sb3_a2c: those of both on-policy algorithms, an update every few moves."""

    n_steps: Count | None = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DQNConfig(SB3Config):
    """Settings of sb3_dqn.

    Attributes:
        buffer_size: Moves that are remembered; they are saved with every checkpoint.
        learning_starts: Random moves before learning starts.
        batch_size: Moves a gradient step.
        train_freq: Moves between updates.
        gradient_steps: Gradient steps an update.
        target_update_interval: Moves between copies to the target network.
        exploration_steps: Training steps over which the share of random moves falls from 1.
        exploration_final: The share it falls to, in [0, 1].
        max_grad_norm: Gradients are scaled down to this norm.
    """

    buffer_size: Count = 10_000
    learning_starts: Annotated[int, at_least(0)] = 64
    batch_size: Count = 64
    train_freq: Count = 16
    gradient_steps: Count = 16
    target_update_interval: Count = 256
    exploration_steps: Count = 20
    exploration_final: Share = 0.05
    max_grad_norm: Annotated[float, above(0)] = 10.0


def moves_a_step(config: "TrainConfig") -> int:
    """Return the learning seat's moves in a training step."""
    return config.run.games * config.game.exchanges


def moves_an_update(config: "TrainConfig") -> int:
    """Return the learning seat's moves between two updates."""
    learner = config.learner
    given: int | None = learner.train_freq if isinstance(learner, DQNConfig) else learner.n_steps
    return given or moves_a_step(config)


def check_moves(config: "TrainConfig") -> None:
    """Check that updates and minibatches divide a training step evenly.

    Raises:
        RedteamError: If they do not.
    """
    moves, learner = moves_a_step(config), config.learner
    update = moves_an_update(config)
    name = "train_freq" if isinstance(learner, DQNConfig) else "n_steps"
    if moves % update:
        raise RedteamError(
            f"A training step has {moves} moves (games x exchanges), no multiple of {name} = "
            f"{update}; change one of them."
        )
    if not isinstance(learner, PPOConfig):
        return
    if update < 2:
        raise RedteamError("An update of sb3_ppo needs at least 2 moves; raise games or n_steps.")
    if update % (learner.batch_size or update):
        raise RedteamError(
            f"An update has {update} moves, no multiple of batch_size = {learner.batch_size}."
        )
