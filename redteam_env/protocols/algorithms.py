"""Who learns, and from what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from redteam_env.protocols.batch import Batch
from redteam_env.protocols.policies import TrainablePolicy


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
    it a run in several processes is refused. ``factory.turn_credit = True`` says that ``update`` takes
    each row's ``rewards``, ``games`` and ``groups`` as they are, so that turns may be credited each with
    its own (:class:`~redteam_env.protocols.Batch`); without it a run with ``credit = turn`` is refused.
    Any other need, such as a
    :class:`ValuedPolicy`, the factory checks itself and raises a ``RedteamError``.

    What does not learn from batches of tokens brings a loop of its own: ``factory.train(config)``
    gets the whole run and returns how it ended, and nothing else here is asked for. Its checkpoints
    then name the agent that plays them (``agent.json``). ``factory.arrangements`` lists those it can
    train, if not all.

    An ``update`` with a keyword argument ``rollout`` is given a :class:`Rollout`, with which it may
    play further games.
    """

    def update(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> Mapping[str, float]:
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
