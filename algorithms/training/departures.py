"""In what a run differs from the recipe that it names, and from the defaults."""

import dataclasses
import json
from typing import Any

from algorithms.training.config import TrainConfig, components, with_presets
from algorithms.training.presets import OF_THE_COMMAND, recipe_of
from redteam_env.game import RedteamError

MECHANICS = (
    *OF_THE_COMMAND,
    *("seed", "checkpoint_every", "preflight", "force", "judge_url", "device", "dtype"),
    *("gradient_checkpointing", "generation_batch", "micro_batch", "micro_tokens", "backend"),
    *("server_urls", "adapter_dir", "kv_cache_gb", "allow_other_base"),
)
"""Options that a recipe leaves to the machine and to chance."""


def departures(config: TrainConfig) -> dict[str, tuple[Any, Any]] | None:
    """Return the settings in which a run differs from its recipe, those that the scale replaced aside.

    Args:
        config: The run.

    Returns:
        Value in the recipe and in the run of each option. What a recipe needs and leaves to its user
        differs if the run goes without. ``None`` if the run names no recipe, or one that was installed when
        it was begun and is not any more.
    """
    named = {"recipe": config.run.recipe, "scale": config.run.scale}
    try:
        recipe = recipe_of(named)
        if recipe is None:
            return None
        theirs, own = _plain(_as_published(named)), _plain(config)
    except RedteamError:
        return None
    found = {
        name: (theirs.get(name), own.get(name))
        for name in dict.fromkeys([*theirs, *own])
        if name not in (*MECHANICS, *recipe.needs) and theirs.get(name) != own.get(name)
    }
    without = [x for x in recipe.needs if own.get(x) is None and own["scale"] == "full"]
    return found | dict.fromkeys(without, ("yours to give", None))


def defaults_of_changed(config: TrainConfig) -> dict[str, Any]:
    """Return the defaults of the settings that have another value in a run, by name.

    Args:
        config: The run. Where it lies and how it was called is left out; what a world, a recipe or a file
            brings differs from the defaults, too.
    """
    fields = [(part, x) for part in config.parts for x in dataclasses.fields(part)]
    return {
        x.name: default
        for part, x in fields
        if x.name not in OF_THE_COMMAND and getattr(part, x.name) != (default := _default(x))
    }


def _default(own: "dataclasses.Field[Any]") -> Any:
    made = own.default_factory
    return own.default if made is dataclasses.MISSING else made()


def _as_published(named: dict[str, Any]) -> TrainConfig:
    options = with_presets(named)
    return TrainConfig.of(
        {
            part: kind(
                **{x.name: options[x.name] for x in dataclasses.fields(kind) if x.name in options}
            )
            for part, kind in components(options).items()
        }
    )


def _plain(config: TrainConfig) -> dict[str, Any]:
    """Return the flat options of a run as a record has them."""
    plain: dict[str, Any] = json.loads(json.dumps(config.flat()))
    return plain
