"""Recipes: the settings of published trainings, each with its source, as cards in TOML files.

A card is a file ``NAME.toml``. A plug-in of the group ``redteam_env.recipes`` is called without arguments
and returns a folder of cards, so that adding a recipe means adding a file. A card says::

    title = "What is trained, on {size}"
    paper = "Authors, title, where it can be read"
    notes = ["What whoever runs it should know."]

    [settings]
    steps = { value = 200, source = "which section, or which file of the official code" }
    model = { value = "owner/Model-{size}", source = "ours: the paper leaves it open" }

    [sizes]                     # makes the recipes NAME_3b and NAME_7b
    "3B" = "where this size is said to have been trained"
    "7B" = "..."

    [needs]                     # options that whoever runs it has to give
    sft_file = "what to put there, and how to make it"

With ``extends = "OTHER"`` it has the settings, needs and notes of another card of its folder, too; its own
count first, and ``inherited`` stands before the sources of the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env import registry
from redteam_env.game import RedteamError, unknown_name
from redteam_env.utils.places import is_name
from redteam_env.utils.reading import read_toml

KIND = "recipes"
_SIZE = "{size}"
_OF_CARD: Mapping[str, type] = {
    "title": str,
    "paper": str,
    "extends": str,
    "inherited": str,
    "notes": list,
    "settings": dict,
    "sizes": dict,
    "needs": dict,
}
_OF_SETTING = ("value", "source")
_REMEDY = "Repair the card, or uninstall what it came with."


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a recipe.

    Attributes:
        value: Its value, as training options have it.
        source: Where it stands: a paper's section, a file of the official code, or why it is ours.
    """

    value: Any
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A published training.

    Attributes:
        name: What users ask for.
        title: What is trained, in a line.
        paper: What it is taken from.
        settings: Training options, by name.
        needs: Options that whoever runs it has to give, with what to put there.
        notes: What else to know.
    """

    name: str
    title: str
    paper: str
    settings: Mapping[str, Setting]
    needs: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]:
        """The values of its settings."""
        return {name: setting.value for name, setting in self.settings.items()}


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes that can be read, sorted."""
    return tuple(sorted(_cards()[0]))


def recipe_faults() -> dict[str, str]:
    """Return what is wrong with each card, or plug-in, that cannot be read; the others go on working."""
    return _cards()[1]


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Args:
        name: One of :func:`recipe_names`.

    Raises:
        RedteamError: If there is none of that name, or its card cannot be read.
    """
    cards, faults = _cards()
    if name in cards:
        return _recipe(name, *cards[name])
    for stem, reason in faults.items():
        if name == stem or name.startswith(f"{stem}_"):
            raise RedteamError(reason)
    raise unknown_name("recipe", name, cards, hint="redteam-env recipes list describes them.")


def _cards() -> tuple[dict[str, tuple[Path, str]], dict[str, str]]:
    """Return the card of each recipe with its size, and the reason why others cannot be read."""
    found: dict[str, tuple[Path, str]] = {}
    faults: dict[str, str] = {}
    for file in _files(faults):
        try:
            names = dict(_names_in(file))
        except RedteamError as error:
            faults[file.stem] = str(error)
            continue
        for name, size in names.items():
            if name in found:
                faults[name] = (
                    f"The recipe {name!r} is in {str(found[name][0])!r} and in {str(file)!r}; rename one of "
                    "the cards."
                )
            found[name] = (file, size)
    return {name: card for name, card in found.items() if name not in faults}, faults


def _files(faults: dict[str, str]) -> Iterator[Path]:
    """Yield the files of all cards; a plug-in that has no folder is noted among the faults."""
    for plugin in registry.names(KIND):
        try:
            folder = registry.build(KIND, plugin)
        except RedteamError as error:
            faults[plugin] = str(error)
            continue
        if isinstance(folder, str | Path) and Path(folder).is_dir():
            yield from sorted(Path(folder).glob("*.toml"))
        else:
            faults[plugin] = (
                f"The plug-in {plugin!r} of {KIND} returned {folder!r}; it must return a folder of cards."
            )


def _names_in(file: Path) -> Iterator[tuple[str, str]]:
    sizes = _card(file).get("sizes", {})
    yield from ((f"{file.stem}_{size.lower()}", size) for size in sizes)
    if not sizes:
        yield file.stem, ""


def _card(file: Path) -> dict[str, Any]:
    """Return a card whose entries have the types that they should have."""
    card = read_toml(file, remedy=_REMEDY)
    place = f"the card {str(file)!r}"
    for key, value in card.items():
        if key not in _OF_CARD:
            raise unknown_name(f"entry of {place}:", key, _OF_CARD)
        if not isinstance(value, _OF_CARD[key]):
            raise RedteamError(f"{key} of {place} is {value!r}; see redteam_env.recipes. {_REMEDY}")
    for key, setting in card.get("settings", {}).items():
        if not isinstance(setting, dict) or sorted(setting) != sorted(_OF_SETTING):
            raise RedteamError(
                f"The setting {key!r} of {place} is {setting!r}; give it a value and a source. {_REMEDY}"
            )
    texts = [x["source"] for x in card.get("settings", {}).values()]
    texts += [*card.get("sizes", {}).values(), *card.get("needs", {}).values()]
    texts += card.get("notes", [])
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise RedteamError(f"{text!r} in {place} must be a text. {_REMEDY}")
    return card


def _recipe(name: str, file: Path, size: str) -> Recipe:
    card = _card(file)
    settings, needs, notes = _inherited(file, card)
    settings |= _settings(card)
    needs |= card.get("needs", {})
    notes += card.get("notes", [])
    if size:
        settings = {x: _of_size(y, size, card["sizes"][size]) for x, y in settings.items()}
    return Recipe(
        name=name,
        title=str(card.get("title", name)).replace(_SIZE, size),
        paper=str(card.get("paper", "")),
        settings=settings,
        needs={x: y for x, y in needs.items() if x not in settings},
        notes=tuple(notes),
    )


def _inherited(
    file: Path, card: Mapping[str, Any], before: tuple[Path, ...] = ()
) -> tuple[dict[str, Setting], dict[str, str], list[str]]:
    """Return settings, needs and notes of the card that one extends."""
    if "extends" not in card:
        return {}, {}, []
    other = file.parent / f"{card['extends']}.toml"
    if other in (file, *before) or not is_name(card["extends"]) or not other.is_file():
        raise RedteamError(
            f"The card {str(file)!r} extends {card['extends']!r}; name another card of its folder, "
            f"without going in a circle. {_REMEDY}"
        )
    body = _card(other)
    settings, needs, notes = _inherited(other, body, (file, *before))
    settings |= _settings(body)
    said = card.get("inherited")
    if said is not None:
        settings = {
            x: Setting(value=y.value, source=f"{said}: {y.source}") for x, y in settings.items()
        }
    return settings, needs | body.get("needs", {}), notes + body.get("notes", [])


def _settings(card: Mapping[str, Any]) -> dict[str, Setting]:
    return {name: Setting(**setting) for name, setting in card.get("settings", {}).items()}


def _of_size(setting: Setting, size: str, source: str) -> Setting:
    """Return a setting with the size in its value, and where that size is from."""
    if not isinstance(setting.value, str) or _SIZE not in setting.value:
        return setting
    return Setting(
        value=setting.value.replace(_SIZE, size), source=f"{setting.source}; {size}: {source}"
    )
