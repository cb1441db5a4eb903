"""A ladder of an algorithm and broken versions of it: it shows what a benchmark can tell apart.

Each rung below the first is REINFORCE++ with one thing broken. That the whole one is best, that a rate of 0
is the base, and that the last one learns to do harm is known beforehand. The order of those between is
not: it is the one that a first run came out in (five seeds of `bipolicy`, 90 steps, the world
``apothecary-v1``; mean area under the ROC curve on held-out substances .91 half shuffled, .85 no baseline,
.82 a tenth of the rate; the whole one .95, the base .71, turned round .42). What is shuffled are rewards,
before the baseline is taken, not advantages.

A benchmark that does not rank the rungs in this order, or cannot tell apart those that are two or more
apart, says little about algorithms whose order nobody knows. The rungs stand in no entry point and are
registered by :func:`register` only where they are asked for, so that nobody trains with one by mistake.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from algorithms.core.advantages import Array
from algorithms.reinforce_pp import ReinforcePP
from algorithms.studies.bench.config import BenchConfig
from redteam_env import registry
from redteam_env.game import Game, RedteamError
from redteam_env.protocols import BASE, Batch, TrainablePolicy
from redteam_env.utils.lists import listed

OFFSET = 3.0
"""What a rung without a baseline adds to every reward: more than rewards differ by."""

LADDER_SEEDS = 4
"""Fewest seeds of a ladder. With two, all four pairs of equal algorithms' runs come out one way round with
probability 1/6, and the bootstrap's interval is then [1, 1]; with four it is 1/70."""


class Impaired(ReinforcePP):
    """REINFORCE++ with something broken, which subclasses say.

    Attributes:
        rate: Factor on the learning rates.
        shuffled: Share of a role's games whose rewards are dealt out among them at random.
        sign: -1 turns every advantage round.
        offset: Added to every reward; there is no baseline that would take it away again. ``None``
            leaves rewards and baseline alone.
    """

    rate: ClassVar[float] = 1.0
    shuffled: ClassVar[float] = 0.0
    sign: ClassVar[int] = 1
    offset: ClassVar[float | None] = None

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        rates = {
            name: None if value is None else self.rate * value
            for name in ("lr", "attacker_lr", "defender_lr")
            for value in [getattr(config, name)]
        }
        if self.offset is not None:
            rates["baseline"] = "none"
        super().__init__(replace(config, **rates), policy=policy, game=game, seed=seed)

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return REINFORCE++'s advantages of what is left of the rewards."""
        found = super().advantages({role: self._paid(own) for role, own in batches.items()})
        return {role: self.sign * values for role, values in found.items()}

    def _paid(self, batch: Batch) -> Batch:
        rewards = batch.rewards + (self.offset or 0.0)
        rng = self.generator("ladder", batch.role)
        places = rng.choice(len(rewards), round(self.shuffled * len(rewards)), replace=False)
        rewards[places] = rewards[rng.permutation(places)]
        return batch.with_(rewards=rewards)


class TenthOfTheRate(Impaired):
    """A tenth of the learning rate."""

    rate = 0.1


class HalfShuffled(Impaired):
    """Half of the rewards go to other games."""

    shuffled = 0.5


class NoBaseline(Impaired):
    """No baseline, with all rewards moved up by :data:`OFFSET`."""

    offset = OFFSET


class NoRate(Impaired):
    """A learning rate of 0: the base."""

    rate = 0.0


class TurnedSign(Impaired):
    """Every advantage turned round."""

    sign = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One algorithm of the ladder.

    Attributes:
        name: What it is registered as.
        about: What is broken.
        factory: The algorithm; ``None`` for the whole one, which is a plug-in anyway.
        learns: Whether it learns something, so that its runs differ as those of real algorithms do.
    """

    name: str
    about: str
    factory: type[Impaired] | None = None
    learns: bool = True


RUNGS = (
    Rung(name="reinforce_pp", about="as it is"),
    Rung(name="half_shuffled", about="half of the rewards go to other games", factory=HalfShuffled),
    Rung(name="no_baseline", about=f"no baseline, rewards + {OFFSET:g}", factory=NoBaseline),
    Rung(name="tenth_of_the_rate", about="a tenth of the learning rate", factory=TenthOfTheRate),
    Rung(name="no_rate", about="a learning rate of 0", factory=NoRate, learns=False),
    Rung(name="turned_sign", about="advantages turned round", factory=TurnedSign, learns=False),
)
"""From the best to the worst, as expected."""


def register(labels: Collection[str]) -> None:
    """Make rungs algorithms that can be asked for by name, in this process.

    Args:
        labels: Names of algorithms; those that are rungs are registered.
    """
    for rung in RUNGS:
        if rung.factory is not None and rung.name in labels:
            registry.register("algorithms", rung.name, rung.factory)


def is_ladder(config: BenchConfig) -> bool:
    """Whether a benchmark ranks the ladder: all its rungs, in its order, and nothing else."""
    return listed(config.algorithms) == tuple(rung.name for rung in RUNGS)


def check_ladder(config: BenchConfig) -> None:
    """Refuse a ladder that could not come out in its order, before anything is trained.

    Raises:
        RedteamError: If it is not the whole ladder, an arrangement of it trains no defender, or it has
            fewer than :data:`LADDER_SEEDS` seeds.
    """
    if not is_ladder(config):
        raise RedteamError(
            f"algorithms is {config.algorithms!r}, which is not the ladder; leave --algorithms out, or rank "
            "other algorithms with bench alone."
        )
    for arrangement in listed(config.arrangements):
        if config.weights(arrangement).get("defender") == BASE:
            raise RedteamError(
                f"The arrangement {arrangement!r} trains no defender, and the ladder is ranked by defence; "
                "leave it out of --arrangements."
            )
    if config.seeds < LADDER_SEEDS:
        raise RedteamError(
            f"seeds is {config.seeds}; the ladder needs at least {LADDER_SEEDS}: with fewer, runs that do "
            "not differ often come out in order by chance."
        )
