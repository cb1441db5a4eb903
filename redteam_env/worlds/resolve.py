"""From the name of a world to the options that it stands for."""

from typing import Any

from redteam_env.game import RedteamError
from redteam_env.protocols import WorldOptions
from redteam_env.registry import build


def is_invented(world: str | None, seeds: Any) -> bool:
    """Whether games are played on a world's own seeds, in which everything is invented.

    Args:
        world: The world of the settings, if one is named.
        seeds: Their seeds.
    """
    return world is not None and seeds == world_options(world).get("seeds")


def world_options(name: str, arrangement: str | None = None, judge: Any = None) -> dict[str, Any]:
    """Return the options of a world, its name under ``world`` among them.

    Args:
        name: A plug-in of the group ``redteam_env.worlds``, such as ``apothecary``.
        arrangement: For which arrangement of weights; by default the world's own.
        judge: The judge that is used; what only the world's own can serve is left out with another one.

    Raises:
        RedteamError: If there is no such world, or its plug-in returns something else.
    """
    found = build("worlds", name)
    if not isinstance(found, WorldOptions):
        raise RedteamError(
            f"The world {name!r} is {type(found).__name__}; its plug-in must return "
            "redteam_env.protocols.WorldOptions."
        )
    return {**found.of(arrangement, judge), "world": name}
