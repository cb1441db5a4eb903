"""RedTeam in numbers v0: the same game with numbered moves and vectors, for multi-agent learners.

The rules, seats and rewards are those of :mod:`redteam_env.redteam_v0`; what is written there about
texts happens inside. Learners such as those of TorchRL, RLlib or Stable-Baselines3 (by SuperSuit) need
no tokenizer and no model for it.

==================  ============================================================
Creation            ``numeric_v0.env()``, ``numeric_v0.parallel_env()``,
                    ``pettingzoo.make("aec" | "parallel", "redteam/numeric-v0")``
Seats               ``attacker_0``, ``defender_0``
Actions             ``Discrete``: a move; ``env.numbers.moves[seat].names`` tells them
Observations        ``Box`` of floats in [-1, 1], a vector
Parallel            native; one seat moves at a time
==================  ============================================================

Actions
    With judge and seeds of the controlled world the attacker's moves are the world's tactics (14, or
    with ``most_tactics=4`` all 240 combinations) and the defender's are ``refuse``, ``answer``,
    ``wrong`` and ``ask-again``; otherwise both play English templates. ``moves={"attacker_0":
    Templates([...])}`` gives others.

Observations
    A seat that is to move sees 1 and then what it is asked, embedded: the attacker the seed's label (+1
    harmful, -1 benign) and the seed, in games of several exchanges also the last answer to it; the
    defender the last message. A seat that is not to move sees zeros. The seats' vectors differ in
    length; ``supersuit.pad_observations_v0`` and ``pad_action_space_v0`` make them equal.

Infos
    ``action_mask``: one number a move; 1 for all moves of the seat to move, for the others only for move
    0, which is not read.

State
    ``state()`` is a vector, too: the seed's label and whether the attacker plays (+1, -1), then the
    seed, the attacker's last text and the defender's, embedded. ``env.unwrapped.episode`` is the
    finished game as a :class:`redteam_env.Episode`.

Rewards
    Each seat is paid once, at the end. In a raw game (``1 - rewrite_fraction`` of all) the attacker never
    moves and is paid 0; ``rewrite_fraction=1`` leaves these out.

Version history
    * v0: first release.
"""

from pettingzoo.utils.env import AECEnv, ParallelEnv  # type: ignore[import-untyped]  # no py.typed
from pettingzoo.utils.wrappers import (  # type: ignore[import-untyped]  # no py.typed
    OrderEnforcingWrapper,
)

from redteam_env.envs.config import takes
from redteam_env.envs.numeric import NumericAEC, NumericConfig, NumericParallel

__all__ = ["env", "parallel_env", "raw_env"]


@takes(NumericConfig)
def env(config: NumericConfig) -> AECEnv[str, object, int]:
    """Return the AEC environment in numbers, with PettingZoo's check of the calling order.

    :mod:`redteam_env.numeric_v0` has the spaces.
    """
    return OrderEnforcingWrapper(NumericAEC(config))


@takes(NumericConfig)
def raw_env(config: NumericConfig) -> NumericAEC:
    """Return the AEC environment in numbers without wrappers.

    :mod:`redteam_env.numeric_v0` has the spaces.
    """
    return NumericAEC(config)


@takes(NumericConfig)
def parallel_env(config: NumericConfig) -> ParallelEnv[str, object, int]:
    """Return the parallel environment in numbers: ``step`` listens to the seat to move only.

    :mod:`redteam_env.numeric_v0` has the spaces.
    """
    return NumericParallel(config)
