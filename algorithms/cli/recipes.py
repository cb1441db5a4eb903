"""The command ``recipes``: which published trainings are here, and what is in one. Imports no torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from redteam_env.game import RedteamError
from redteam_env.recipes import Recipe, find_recipe, recipe_faults, recipe_names
from redteam_env.runs import Run
from redteam_env.utils.argv import option_of
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRecipes:
    """List the recipes.

    Attributes:
        json: Print JSON.
    """

    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRecipe:
    """Show every setting of a recipe, with where it stands; of a run, in what it differs from its recipe.

    Attributes:
        name: The recipe, or the directory of a run that was trained with one.
        json: Print JSON.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    json: bool = False


def recipes(argv: Sequence[str]) -> int:
    """List the trainings of published papers, or show the settings of one and their sources.

    Args:
        argv: ``list`` or ``show NAME`` with options.

    Returns:
        0.

    Raises:
        RedteamError: If there is no such recipe, or its card cannot be read.
    """
    action = tyro.extras.subcommand_cli_from_dict(
        {"list": ListRecipes, "show": ShowRecipe},
        args=list(argv),
        prog="redteam-env recipes",
        description="List the trainings of published papers, or show the settings of one.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if isinstance(action, ListRecipes):
        return _list(as_json=action.json)
    if (place := Path(action.name)).is_dir():
        return _show_run(place, as_json=action.json)
    found = find_recipe(action.name)
    if action.json:
        print_json(asdict(found))
    else:
        _show(found)
    return 0


def _list(*, as_json: bool) -> int:
    found = [find_recipe(name) for name in recipe_names()]
    if as_json:
        rows = [{"name": x.name, "title": x.title, "paper": x.paper} for x in found]
        print_json(rows)
        return 0
    console = make_console()
    for recipe in found:
        console.print(safe_text(f"{recipe.name}: {recipe.title}"), soft_wrap=True)
    for name, reason in recipe_faults().items():
        console.print(safe_text(f"{name}: cannot be read: {reason}", "yellow"), soft_wrap=True)
    console.print("redteam-env recipes show NAME tells its settings; train --recipe NAME runs it.")
    return 0


def _show_run(place: Path, *, as_json: bool) -> int:
    """Show in what a run differs from its recipe, as its record says."""
    run = Run(place)
    config = run.stored_config() or {}
    name, scale = (config.get(x) for x in ("recipe", "scale"))
    if not isinstance(name, str):
        raise RedteamError(
            f"{str(place)!r} holds no run of a recipe; name one, or a recipe: redteam-env recipes list."
        )
    rows = run.departures() or {}
    if as_json:
        print_json({"recipe": name, "scale": scale, "differs": rows})
        return 0
    console = make_console()
    heading = f"Recipe {name}, scale {scale}"
    if not rows:
        console.print(safe_text(f"{heading}: the run differs in nothing."))
        return 0
    console.print(safe_text(f"{heading}: the run differs from the recipe."))
    table = FittedTable("option", *(Column(heading=x, words=True) for x in ("recipe", "run")))
    for option, row in rows.items():
        table.row(option_of(option), *(str(row.get(side)) for side in ("recipe", "run")))
    console.print(table)
    return 0


def _show(recipe: Recipe) -> None:
    console = make_console()
    console.print(safe_text(recipe.title, "bold"), soft_wrap=True)
    console.print(safe_text(recipe.paper), soft_wrap=True)
    table = FittedTable("option", *(Column(heading=x, words=True) for x in ("value", "source")))
    for name, setting in recipe.settings.items():
        table.row(option_of(name), str(setting.value), setting.source)
    console.print(table)
    for name, what in recipe.needs.items():
        console.print(safe_text(f"Needs {option_of(name)}: {what}"), soft_wrap=True)
    for note in recipe.notes:
        console.print(safe_text(note), soft_wrap=True)
    console.print(
        "All other options keep the library's defaults. An option that is given beside --recipe counts "
        "instead, and is listed as differing from the recipe."
    )
