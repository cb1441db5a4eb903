"""How long advantages take without a model: two rows of ``redteam-env speed``."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from redteam_env.game import ATTACKER, Episode, Game, Generation, Seed, Turn
from redteam_env.protocols import Batch
from redteam_env.registry import load

GROUP = 8


class _Blank:
    """A policy that expects nothing."""

    trainable_roles = ("attacker",)

    def __init__(self) -> None:
        self._tensors = [torch.nn.Parameter(torch.zeros(1))]

    def weights_of(self, role: str) -> str:
        return role

    def parameters(self, weights: str) -> Sequence[Any]:  # noqa: ARG002 - the protocol's
        return self._tensors

    value_parameters = parameters

    def encode_example(self, *_: object, **__: object) -> Generation:
        return _generation(1, np.random.default_rng(0))

    def values(self, role: str, generations: Sequence[Generation]) -> Any:  # noqa: ARG002 - the protocol's
        lengths = torch.tensor([len(g.completion_ids) for g in generations])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        return SimpleNamespace(values=torch.zeros(mask.shape), mask=mask)


def advantage_seconds(algorithm: str, tokens: int, *, length: int = 500) -> float:
    """Time an algorithm's advantages, from samples to an array.

    Args:
        algorithm: The name of a built-in one.
        tokens: Completion tokens in all; rounded up to whole groups of eight games.
        length: Tokens of the longest completion; the shortest has half of it.

    Returns:
        Seconds, without what a model would take.
    """
    factory = load("algorithms", algorithm)
    rng = np.random.default_rng(0)
    generations: list[Generation] = []
    left = tokens
    while left > 0 or len(generations) % GROUP:
        n = int(rng.integers((length + 1) // 2, length + 1))
        generations.append(_generation(n, rng))
        left -= n
    rewards = rng.normal(size=len(generations)).tolist()
    groups = [k // GROUP for k in range(len(generations))]
    learner = factory(factory.Config(), policy=_Blank(), game=Game(), seed=0)
    started = time.perf_counter()
    turn = Turn(seat=ATTACKER, text="a", visible="a")
    game = Episode(
        seed=Seed(id="a", text="a", harmful=True),
        rewritten=True,
        turns=(turn,),
        verdict=None,
        rewards={},
        components={},
        samples=(),
    )
    batch = Batch.of(
        "attacker",
        generations,
        rewards,
        groups=groups,
        turns=[turn] * len(generations),
        episodes=[game],
        episode_index=[0] * len(generations),
    )
    reference = np.where(batch.mask, batch.sampled - 0.1, 0.0)
    batches = {"attacker": batch.with_(old=batch.sampled, reference=reference)}
    learner.prepare(_Blank(), batches)
    learner.advantages(batches)
    return time.perf_counter() - started


def _generation(length: int, rng: np.random.Generator) -> Generation:
    return Generation(
        prompt_ids=(0,),
        completion_ids=(0,) * length,
        logprobs=tuple((-rng.random(length)).tolist()),
        adapter="attacker",
        version=0,
        temperature=1.0,
        finished=True,
    )
