"""What one word for a world stands for: the settings that belong together, as defaults."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

ENGLISH = "english"

T = TypeVar("T")


def speaks(language: str) -> Callable[[T], T]:
    """Return a decorator that says in which language the texts of a plug-in are.

    For what an entry point of the kinds ``seeds``, ``judges`` and ``agents`` names: seeds are written in it,
    a judge reads it, an agent knows it. Parts in different languages are not played together unless
    that is asked for (``--mix-worlds``, ``mix_worlds=True``); judges and agents that say nothing fit
    everything, seeds that say nothing are told by their texts.

    Args:
        language: The name of a controlled world, :data:`ENGLISH`, or any other word.
    """

    def say(factory: T) -> T:
        factory.language = language  # type: ignore[attr-defined]  # functions and classes have any
        return factory

    return say


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOptions:
    """The options that a world brings; any option that is given explicitly wins.

    A plug-in of the group ``redteam_env.worlds`` is called as ``factory()`` and returns one. An option that
    the chosen algorithm, policy or command does not have is passed over.

    Attributes:
        options: Options of ``redteam-env train`` by name, such as ``model``, ``seeds``, ``judge`` and
            ``max_new_tokens``. Environments and evaluations take those that they have, too.
        arrangements: Further options for single arrangements, which win over ``options``.
        of_judge: The names of those options that only the world's own judge can serve; with another one they
            are left out.
    """

    options: Mapping[str, Any]
    arrangements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    of_judge: Collection[str] = ()

    def of(self, arrangement: str | None = None, judge: Any = None) -> dict[str, Any]:
        """Return all options.

        Args:
            arrangement: For which arrangement; by default the one that ``options`` name, if any.
            judge: The judge that is used; by default the world's own.
        """
        chosen = self.options.get("arrangement") if arrangement is None else arrangement
        found = {**self.options, **self.arrangements.get(str(chosen), {})}
        if judge is None or judge == found.get("judge"):
            return found
        return {name: value for name, value in found.items() if name not in self.of_judge}
