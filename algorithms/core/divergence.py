"""Noticing that training has diverged, at the step that did it and before anything is saved.

A checkpoint of weights that are not finite, or that give no finite log-probabilities, would be the
last one: nothing can be resumed from it or scored with it. So the step that makes such weights fails,
and the checkpoint before it stays the newest.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from algorithms.core.advantages import Array
from redteam_env.border.policies import logprobs
from redteam_env.game import RedteamError
from redteam_env.protocols import Batch, TrainablePolicy

if TYPE_CHECKING:
    import torch

CURE = (
    "start another run with a lower learning rate, from an earlier checkpoint with --init-from "
    "(--resume takes the same step again)"
)


def check_finite(batch: Batch, *columns: Array) -> None:
    """Check what is to be learned from, before an update.

    Args:
        batch: The samples.
        columns: Further numbers of their tokens.

    Raises:
        RedteamError: If a reward or log-probability is not finite; the text names the game.
    """
    finite = np.isfinite(batch.rewards)
    for column in (batch.sampled, *columns):
        finite &= np.isfinite(column).all(axis=1)
    if finite.all():
        return
    bad = int(np.argmin(finite))
    game: object = int(batch.games[bad])
    if batch.episodes:
        game = batch.episodes[int(batch.episode_index[bad])].path
    raise RedteamError(
        f"Game {game} has a reward of {float(batch.rewards[bad])} or log-probabilities that are not "
        "finite; nothing was trained on it. If it is the reward, look at the judge; if not, "
        f"training diverged: {CURE}."
    )


def check_update(policy: TrainablePolicy, batches: Mapping[str, Batch]) -> None:
    """Check what an update left: the weights, and the log-probabilities they give to what was played.

    Of each trained role one sample is scored again, the shortest: it costs little, and weights that
    overflow do so on any.

    Args:
        policy: What was trained.
        batches: The samples it was trained on.

    Raises:
        RedteamError: If anything is not finite; the weights or the role are named.
    """
    import torch

    for name in dict.fromkeys(policy.weights_of(role) for role in policy.trainable_roles):
        if not all(_finite(tensor) for tensor in policy.parameters(name)):
            raise _diverged(f"A weight of {name!r} is")
    for role in policy.trainable_roles:
        if role not in batches:
            continue
        shortest = min(
            batches[role].generations, key=lambda x: len(x.prompt_ids) + len(x.completion_ids)
        )
        with torch.no_grad():
            found = logprobs(policy, role, [shortest])
        if not _finite(found.logprobs[found.mask]):
            raise _diverged(f"Log-probabilities of the {role} are")


def _finite(tensor: "torch.Tensor") -> bool:
    return bool(tensor.detach().isfinite().all())


def _diverged(what: str) -> RedteamError:
    return RedteamError(
        f"{what} not finite after the update: training diverged, and nothing of this step was "
        f"saved. To go on, {CURE}."
    )
