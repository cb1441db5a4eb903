"""Training options that were not given one by one: of a resumed run, a file, a recipe, and a scale.

What the user gives counts most, then what the file says (``config``), then the recipe; where a run is resumed,
the run. A scale counts more than what stands below the place that names it.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from algorithms.recipes import EXAMPLES
from redteam_env.game import RedteamError
from redteam_env.recipes import Recipe, find_recipe
from redteam_env.runs import CONFIG, Run
from redteam_env.trust import allow, check_links, confirm_named, options_of, with_roots
from redteam_env.utils.argv import option_of
from redteam_env.utils.reading import read_toml

OF_THE_COMMAND = ("config", "out", "resume", "json", "quiet")
"""Options that say where a run goes and how it is started, and so stand in no file."""
Scale = Literal["full", "tiny"]
TINY: Scale = "tiny"
REPLACED: Mapping[str, Any] = MappingProxyType(
    {
        "model": "tiny-random",
        "revision": None,
        "judge": "always",
        "judge_url": None,
        "seeds": "builtin",
        "steps": 2,
        "games": 16,
        "checkpoint_every": 1,
        "preflight": 2,
        "force": True,
        "rank": 4,
        "alpha": None,
        "max_new_tokens": 32,
        "max_prompt_tokens": 2048,
        "minibatch": 8,
    }
)
"""What ``--scale tiny`` puts in the place of model, judge, data and sizes; all else stays as it is."""
REPLACED_IF_SET: Mapping[str, Any] = MappingProxyType(
    {
        "lr_steps": 2,
        "warmup_steps": 1,
        "sft_batch": 2,
        "sft_steps": 1,
        "block": 1,
        "sft_file": str(EXAMPLES),
        "init_from": None,
    }
)
"""The same for sizes and data that only some runs have."""


def file_options(options: Mapping[str, Any], said: Collection[str]) -> dict[str, Any]:
    """Return the options in the file that options name as ``config``.

    Places in it are taken from its folder, those in a run's ``config.json`` from where the run was
    started. Servers, and places outside of that folder or run, are used only if the user named them, too,
    or says yes.

    Args:
        options: Values by name.
        said: The names of all that the user gave himself.

    Returns:
        Values by name; none if no file is named.

    Raises:
        RedteamError: If the file cannot be read, has an option that belongs on the command line, or names
            something that nobody confirms.
    """
    if options.get("config") is None:
        return {}
    place = _place(options["config"])
    run = _run_of(place)
    if run is not None:
        check_links(run.path)
        stored = options_of(run) or {}
        found = {x: y for x, y in stored.items() if x not in OF_THE_COMMAND}
        allow(run, _unsaid(found, said))
        return found
    table = read_toml(place, remedy="Name a TOML file of options, a run, or its config.json.")
    if misplaced := sorted({*table} & {*OF_THE_COMMAND}):
        raise RedteamError(
            f"{str(place)!r} has {misplaced[0]!r}, which belongs to the command; leave it out there and "
            f"give {option_of(misplaced[0])}."
        )
    root = place.resolve().parent
    found = with_roots(table, root)
    confirm_named(_unsaid(found, said), root=root, source=f"The file {str(place)!r}")
    return found


def begun_run(options: Mapping[str, Any]) -> Run | None:
    """Return the run that options resume; ``None`` if another one is to be begun.

    Args:
        options: Values by name; ``resume`` and ``out`` tell.
    """
    out = options.get("out")
    if not options.get("resume") or not isinstance(out, str):
        return None
    run = Run(Path(out))
    return None if run.stored_config() is None else run


def resumed_options(run: Run, options: Mapping[str, Any], said: Collection[str]) -> dict[str, Any]:
    """Return options over those of the run that they resume.

    Args:
        run: The run.
        options: Values by name.
        said: The names of all that the user gave himself, which may be more than ``options`` holds.

    Raises:
        RedteamError: If the run names what nobody confirms: code, and in somebody else's run places outside of
            it and servers; or as :func:`file_options`.
    """
    check_links(run.path)
    stored = options_of(run) or {}
    found = {x: y for x, y in stored.items() if x not in OF_THE_COMMAND}
    allow(run, _unsaid(found, said))
    return {**found, **file_options(options, said), **options}


def meant_as_begun(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options whose words the run was begun with, as they were meant there.

    The same command from another directory goes on with the same files, unless there are files of these
    names.

    Args:
        run: The run.
        options: All values by name.

    Raises:
        RedteamError: If such a file lies outside the run, which is somebody else's, and nobody confirms it.
    """
    words, meant = run.stored_config() or {}, options_of(run) or {}
    moved = {x: y for x, y in meant.items() if y != words[x]}
    here = with_roots({name: words[name] for name in moved}, Path.cwd())
    used = {x: y for x, y in moved.items() if options.get(x) == words[x] == here[x]}
    allow(run, used)
    return used


def _place(config: Any) -> Path:
    """Return the path that ``config`` is.

    Raises:
        RedteamError: If it cannot be one.
    """
    try:
        place = Path(str(config)).expanduser()
        place.lstat()
    except FileNotFoundError:
        pass  # whoever reads it says so
    except (OSError, RuntimeError, ValueError) as error:
        raise RedteamError(f"config is {config!r}, which names no file ({error}).") from error
    return place


def _run_of(place: Path) -> Run | None:
    """Return the run whose record a path names."""
    if place.is_dir():
        run = Run(place)
        if run.record() is None:
            raise RedteamError(
                f"{str(place)!r} holds no {CONFIG}; name a run, or a TOML file of options."
            )
        return run
    return Run(place.parent) if place.name == CONFIG else None


def _unsaid(options: Mapping[str, Any], said: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in said}


def tiny(
    below: Mapping[str, Any], named: Mapping[str, Any], recipe: Recipe | None
) -> dict[str, Any]:
    """Return the options that ``--scale tiny`` brings.

    Args:
        below: The options that it stands over.
        named: What the user and the file say.
        recipe: The recipe, if there is one.

    Raises:
        RedteamError: If a world is named, which is tiny by itself.
    """
    if named.get("world") is not None:
        raise RedteamError(
            f"scale is 'tiny', but the world {named['world']!r} has a tiny model, judge and seeds of its "
            "own; leave the scale out and give fewer --steps."
        )
    needed = () if recipe is None else recipe.needs
    set_here = {x: y for x, y in REPLACED_IF_SET.items() if below.get(x) or x in needed}
    return {**REPLACED, **set_here}


def recipe_of(options: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe that options name, if any.

    Raises:
        RedteamError: If there is none of that name.
    """
    name = options.get("recipe")
    return None if name is None else find_recipe(str(name))


def check_needs(options: Mapping[str, Any], said: Collection[str]) -> None:
    """Refuse a run of a recipe that lacks what only its user can give.

    Args:
        options: Values by name, those of the recipe and its scale among them.
        said: The names of what was given, be it to go without.

    Raises:
        RedteamError: If something is lacking; the text says what to give.
    """
    recipe = recipe_of(options)
    begun = options.get("config") is not None and _run_of(_place(options["config"])) is not None
    if recipe is None or options.get("scale") == TINY or begun:
        return
    for name, what in recipe.needs.items():
        if name not in said and options.get(name) is None:
            option = option_of(name)
            raise RedteamError(
                f"The recipe {recipe.name!r} needs {option}: {what} To go without it, which the run's "
                f"record will tell, give {option} none."
            )
