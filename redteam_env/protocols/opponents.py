"""Who plays whom in a league, and who learns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from redteam_env.randomness import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Who plays a game and who learns from it.

    Attributes:
        players: For each role the weights that play it: the current ones by their name, such as
            ``attacker``, or a frozen version of them, such as ``attacker@12``.
        learners: Roles whose turns may be trained on; current weights play them.
    """

    players: Mapping[str, str]
    learners: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a rewritten game paid.

    Attributes:
        players: As in :class:`Match`.
        payoffs: For each role its reward without the format component.
    """

    players: Mapping[str, str]
    payoffs: Mapping[str, float]


class League(Protocol):
    """What an opponent sampler may ask of a run."""

    @property
    def weights(self) -> Mapping[str, str]:
        """The name of the current weights behind each role; shared weights stand twice."""
        ...

    def freeze(self, weights: str) -> str:
        """Keep named weights as they are now; return the name of this version, ``NAME@VERSION``."""
        ...

    def drop(self, version: str) -> None:
        """Forget a frozen version."""
        ...

    def recall(self, version: str) -> None:
        """Put a frozen version in the place of the current weights."""
        ...

    def breed(self, parents: Sequence[str], *, noise: float, path: Address) -> str:
        """Put a child of frozen versions in the place of the current weights; freeze it, too.

        Args:
            parents: One or more versions of the same weights.
            noise: As in :meth:`LeaguePolicy.breed_weights`.
            path: Address of the randomness.

        Returns:
            The child's name.
        """
        ...

    def play(self, players: Mapping[str, str], games: int, *, path: Address) -> list[Result]:
        """Play games that nobody learns from; void games are left out.

        Games with equal paths have equal seeds and draws, whoever plays them.
        """
        ...


@runtime_checkable
class OpponentSampler(Protocol):
    """Chooses who plays whom, and who learns, in each step.

    What its entry point names is called as ``factory(config, league=..., seed=...)`` and carries the
    class of its config, a frozen dataclass with defaults, as ``factory.Config``; the command line
    takes its options from there. Take randomness from a path that begins with the seed.

    A sampler whose outcome is a mixture of versions, as PSRO's, has ``mixture = True``; its state then
    holds ``attackers`` and ``defenders``, names of frozen versions, and ``meta``, for ``attacker`` and
    ``defender`` the share of each. ``mixture:RUN`` plays it, and benchmarks measure it. The state may
    hold ``first``, by role the version of the run's start, which alone is no outcome and is refused.
    A config may have ``least_steps``; shorter runs are refused, as those that end in the first round.
    """

    def matches(self, step: int, rewritten: Sequence[bool]) -> Sequence[Match]:
        """Return a match for each group of a step's games.

        Args:
            step: Steps done so far.
            rewritten: For each group, whether the attacker plays; otherwise the defender alone does.
        """
        ...

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:
        """Take note of a step's rewritten games, after the update; return what is to be logged."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return everything that a resumed run needs, as plain JSON."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that :meth:`state` returned."""
        ...
