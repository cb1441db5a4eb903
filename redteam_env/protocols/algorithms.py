"""Who learns, and from what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from redteam_env.game import Generation
from redteam_env.protocols.policies import TrainablePolicy
from redteam_env.randomness import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One turn to learn from.

    Attributes:
        generation: Prompt and completion tokens with the log-probabilities they were sampled at.
        reward: The seat's reward for the game.
        components: The weighted components that sum to it.
        well_formed: Whether the turn kept the format.
        group: Games of one group share the seed.
        path: The game it belongs to.
        confidence: For each field of the verdict to which the judge gave a probability: twice the
            probability of its answer, less 1; 1 is certain, 0 a coin.
    """

    generation: Generation
    reward: float
    components: Mapping[str, float]
    well_formed: bool
    group: int
    path: Address
    confidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBatch:
    """All samples of one role in one step."""

    role: str
    samples: tuple[Sample, ...]


@runtime_checkable
class Algorithm(Protocol):
    """Learns from episodes, role by role.

    What an algorithm's entry point names is called as ``factory(config, policy=..., game=...,
    seed=...)`` and carries the class of its config, a frozen dataclass with defaults, as
    ``factory.Config``; the command line takes its options from there. If it compares games of one
    seed, ``factory.least_group`` says how many at least (1 if it is missing); a run with a smaller
    ``group_size`` is refused before anything is played. ``factory.distributed = True`` says that
    ``update``, called in every process of a run with equal batches, leaves equal weights everywhere
    (it may share its work out, as the built-in algorithms do); without
    it a run in several processes is refused. Any other need, such as a
    :class:`ValuedPolicy`, the factory checks itself and raises a ``RedteamError``.

    What does not learn from batches of tokens brings a loop of its own: ``factory.train(config)``
    gets the whole run and returns how it ended, and nothing else here is asked for. Its checkpoints
    then name the agent that plays them (:mod:`redteam_env.evaluation.saved`). ``factory.arrangements``
    lists those it can train, if not all.
    """

    def update(
        self, policy: TrainablePolicy, batches: Mapping[str, RoleBatch]
    ) -> Mapping[str, float]:
        """Change the policy's weights once; return metrics named ``role/what``."""
        ...

    def state(self) -> "AlgorithmState":
        """Return everything that a resumed run needs."""
        ...

    def load_state(self, state: "AlgorithmState") -> None:
        """Go back to a state that :meth:`state` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmState:
    """What an algorithm keeps between steps: flat tensors by name, and plain JSON."""

    tensors: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
