"""The settings of what Stable-Baselines3 trains; reading them imports none of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redteam_env.game import RedteamError

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

    learning_rate: float = 1e-3
    gamma: float = 0.99
    hidden: int = 64
    embedder: str = "auto"
    templates: str | None = None
    most_tactics: int = 1
    side_by_side: int = 32

    def __post_init__(self) -> None:
        _positive(self, "learning_rate")
        _share(self, "gamma")
        _at_least_one(self, "hidden", "most_tactics", "side_by_side")


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

    n_steps: int | None = None
    gae_lambda: float = 1.0
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        SB3Config.__post_init__(self)
        _share(self, "gae_lambda")
        _positive(self, "max_grad_norm")
        _not_negative(self, "ent_coef", "vf_coef")
        if self.n_steps is not None:
            _at_least_one(self, "n_steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Settings of sb3_ppo.

    Attributes:
        batch_size: Moves a minibatch; by default all of an update.
        n_epochs: Passes over an update's moves.
        clip_range: Width of the clipped probability ratio.
    """

    batch_size: int | None = None
    n_epochs: int = 10
    clip_range: float = 0.2

    def __post_init__(self) -> None:
        OnPolicyConfig.__post_init__(self)
        _positive(self, "clip_range")
        _at_least_one(self, "n_epochs")
        if self.batch_size is not None and self.batch_size < 2:
            raise RedteamError(f"batch_size is {self.batch_size}; give at least 2.")


@dataclass(frozen=True, slots=True, kw_only=True)
class A2CConfig(OnPolicyConfig):
    """Settings of sb3_a2c: those of both on-policy algorithms, an update every few moves."""

    n_steps: int | None = 8


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

    buffer_size: int = 10_000
    learning_starts: int = 64
    batch_size: int = 64
    train_freq: int = 16
    gradient_steps: int = 16
    target_update_interval: int = 256
    exploration_steps: int = 20
    exploration_final: float = 0.05
    max_grad_norm: float = 10.0

    def __post_init__(self) -> None:
        SB3Config.__post_init__(self)
        _share(self, "exploration_final")
        _positive(self, "max_grad_norm")
        _at_least_one(self, "buffer_size", "batch_size", "train_freq", "gradient_steps")
        _at_least_one(self, "target_update_interval", "exploration_steps")
        _not_negative(self, "learning_starts")


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


def _positive(config: Any, *names: str) -> None:
    _check(config, names, "a finite number above 0", lambda x: 0 < x < float("inf"))


def _not_negative(config: Any, *names: str) -> None:
    _check(config, names, "a finite number of at least 0", lambda x: 0 <= x < float("inf"))


def _share(config: Any, *names: str) -> None:
    _check(config, names, "a share in [0, 1]", lambda x: 0 <= x <= 1)


def _at_least_one(config: Any, *names: str) -> None:
    _check(config, names, "a whole number of at least 1", lambda x: x >= 1)


def _check(config: Any, names: tuple[str, ...], wanted: str, fits: Any) -> None:
    for name in names:
        if not fits(getattr(config, name)):
            raise RedteamError(f"{name} is {getattr(config, name)}; give {wanted}.")
