"""What a run of several processes checks, and how the games of all come together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from algorithms.core.ranks import Ranks
from redteam_env.game import Episode, RedteamError
from redteam_env.game.records import SCHEMA
from redteam_env.protocols import Agent, GameSetup, Judge, TrainablePolicy
from redteam_env.rollout import play

if TYPE_CHECKING:
    import torch


def check_distributed(
    ranks: Ranks, algorithm: str, factory: Any, games: int, group_size: int
) -> None:
    """Check that a run can be shared out.

    Args:
        ranks: The processes.
        algorithm: Name of the algorithm.
        factory: What its entry point names.
        games: Games a step.
        group_size: Games that share a seed.

    Raises:
        RedteamError: If the groups do not divide, or the algorithm is for one process only.
    """
    if ranks.world == 1:
        return
    if not getattr(factory, "distributed", False):
        raise RedteamError(
            f"The algorithm {algorithm!r} does not say that it trains in several processes "
            "(distributed = True, see redteam_env.protocols.Algorithm), but there are "
            f"{ranks.world}; start one, or choose another --algorithm."
        )
    least = group_size * ranks.world
    if games % least:
        raise RedteamError(
            f"{ranks.world} processes cannot share {games} games in groups of {group_size} evenly. "
            f"Give a multiple of {least} as --games, such as {least * max(1, round(games / least))}, "
            "or start another number of processes."
        )


def gather_episodes(
    ranks: Ranks, episodes: Sequence[Episode], seconds: float
) -> tuple[list[Episode], dict[str, float]]:
    """Bring all games of a step together, in their order.

    Args:
        ranks: The processes.
        episodes: Those that this process played, a :meth:`Ranks.part` of all.
        seconds: How long it took.

    Returns:
        All games, and with several processes ``time/wait_s``, the seconds for which a process
        waited for the slowest one, on average.
    """
    if ranks.world == 1:
        return list(episodes), {}
    # an episode's own to_json refuses what is not finite; the algorithm names the game instead
    plain = [{"schema": SCHEMA, **asdict(episode)} for episode in episodes]
    parts = ranks.gather({"seconds": seconds, "episodes": [json.dumps(x) for x in plain]})
    taken = [part["seconds"] for part in parts]
    waited = max(taken) - sum(taken) / len(taken)
    lines = [line for part in parts for line in part["episodes"]]
    return [Episode.from_json(line) for line in lines], {"time/wait_s": waited}


def play_shared(
    run: Any,
    setups: Sequence[GameSetup],
    agents: Mapping[str, Agent],
    judge: Judge | None = None,
) -> list[Episode]:
    """Play games beside those of a step; in several processes each plays its share of them.

    Args:
        run: The run (:class:`algorithms.training.loop.Training`).
        setups: The games.
        agents: Who plays, by seat.
        judge: Who judges, by default the run's judge.

    Returns:
        One episode for each setup, in order.
    """
    places = run.ranks.share([1.0] * len(setups))
    own = play(
        [setups[k] for k in places],
        agents,
        judge or run.judge,
        game=run.game,
        batch_size=run.config.generation_batch,
        progress=run.callbacks.on_progress,
    )
    episodes, _ = gather_episodes(run.ranks, own, 0.0)
    order = [k for part in run.ranks.gather(places) for k in part]
    return [episode for _, episode in sorted(zip(order, episodes, strict=True), key=lambda x: x[0])]


def checksums(policy: TrainablePolicy) -> dict[str, int]:
    """Return a number for each trained weights that any change of their bits is all but sure to change."""
    import torch

    result = {}
    for name in _trained(policy):
        sums = [_bits(tensor.detach()).sum() for tensor in policy.parameters(name)]
        weighted = [(k + 1) * x for k, x in enumerate(sums)]
        result[name] = int(torch.stack(weighted).sum()) if weighted else 0
    return result


def weights_size(policy: TrainablePolicy) -> int:
    """Return the bytes of all trained weights."""
    tensors = [x for name in _trained(policy) for x in policy.parameters(name)]
    return sum(x.numel() * x.element_size() for x in tensors)


def _trained(policy: TrainablePolicy) -> list[str]:
    return list(dict.fromkeys(policy.weights_of(role) for role in policy.trainable_roles))


def _bits(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.element_size()])
