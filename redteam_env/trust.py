"""Whose words the options in a run's ``config.json`` are, and what places they name.

A run that this account began carries its seal (:mod:`redteam_env.utils.seals`) over its options and over the
directory that it was started in: whatever they name, its user named. In anybody else's run the places
outside its directory and the servers are used only if the user names them, too, or says yes.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from redteam_env import registry
from redteam_env.choices import CODE, KINDS_OF_OPTIONS, code_in
from redteam_env.game import GameConfig, RedteamError, prompt_sets
from redteam_env.judges import card as judge_cards
from redteam_env.protocols import BASE
from redteam_env.registry import split_name
from redteam_env.runs import Run, find_run
from redteam_env.suites import card as suite_cards
from redteam_env.utils.argv import is_commanded, spelled
from redteam_env.utils.consent import confirm
from redteam_env.utils.lists import listed
from redteam_env.utils.places import (
    MIXED,
    is_bare,
    leaves,
    links_out,
    names_code,
    parts_of,
    places_within,
    rooted,
    rooted_code,
)
from redteam_env.utils.reading import read_toml
from redteam_env.utils.seals import is_sealed, seal

STARTED = "started_in"
"""The key of ``config.json`` for the directory that relative places are taken from."""
SEAL = "seal"
_SEALED = ("config", STARTED)
_NO_PLACES = frozenset(
    {
        *("out", "policy", "algorithm", "opponents", "callback", "world", "arrangement"),
        *("best_metric", "stop_metric"),
    }
)
"""Options whose text is the name of something, and that of the run's own directory."""

_OBJECTS = frozenset({"judge", "seeds"})
"""Options whose values may be objects in Python."""
_OF_THE_RUN = frozenset({"model", "bases", "revision"})
"""Options that say what a run's weights were trained on, which is fetched unasked; ``bases`` has roles
where others have names of agents."""
_PLAIN = frozenset(
    {
        *(field.name for field in fields(GameConfig)),
        *(
            "recipe",
            "model",
            "arrangement",
            "algorithm",
            "policy",
            "opponents",
            "opponent",
            "steps",
        ),
    }
)
"""Options that are one value each; those of plug-ins may be lists."""
_OF_HUB = re.compile(r"\w[\w.-]*/[\w.-]+")
_IN_HUB = re.compile(r"(?:^|[^\w])hub:([^,?&+=@]+)")
_WORDS = re.compile(r"[\s+,:=?&@|;]")


def names() -> frozenset[str]:
    """Return the words that name what is installed, whatever files are called so."""
    plugins = {name for kind in registry.KINDS for name in registry.names(kind)}
    known = registry.settings("policies", "lora").KNOWN
    return frozenset({*plugins, *prompt_sets(), BASE, *known})


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's record with this account's seal, if it can set one."""
    return {**record, SEAL: seal({name: record[name] for name in _SEALED})}


def is_own(run: Run) -> bool:
    """Whether this account wrote the options in a run's record.

    Raises:
        RedteamError: If the record cannot be read.
    """
    record = run.record() or {}
    return is_sealed({name: record.get(name) for name in _SEALED}, record.get(SEAL))


def options_of(run: Run) -> dict[str, Any] | None:
    """Return the flat configuration of a run, its relative places taken from where it was started.

    Returns:
        Values by name; ``None`` if the directory holds no run.

    Raises:
        RedteamError: If the record cannot be read.
    """
    record = run.record()
    if record is None:
        return None
    started, options = record.get(STARTED), dict(record["config"])
    for name in _PLAIN & options.keys():
        if isinstance(options[name], list | dict):
            raise RedteamError(
                f"The config.json of {str(run.path)!r} has {options[name]!r} as {name}, which is one value. "
                "Restore it, or name another run."
            )
    if not isinstance(started, str) or Path(started) == Path.cwd():
        return options
    return with_roots(options, Path(started))


def in_words_of(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, those that say what the run's own do in the run's words.

    A place is the same however it is written, and from whichever directory; one that differs is absolute. So is
    code, by its file or its module; whether its source is the same is not compared here.

    Args:
        run: The run.
        options: The options of this process.

    Raises:
        RedteamError: If the run's record cannot be read.
    """
    stored = run.stored_config()
    if stored is None:
        return dict(options)
    there = with_roots(options_of(run) or {}, Path.cwd())
    here = with_roots(options, Path.cwd())
    return {
        name: stored[name]
        if name in stored and (_same(name, here[name], there[name]) or value == stored[name])
        else here[name]
        for name, value in options.items()
    }


def _same(name: str, one: Any, other: Any) -> bool:
    """Whether two values of an option mean one thing, places in them being absolute."""
    if one == other or name not in KINDS_OF_OPTIONS:
        return bool(one == other)
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    return rooted_code(one, start=Path.cwd()) == rooted_code(other, start=Path.cwd())


def with_roots(options: Mapping[str, Any], start: Path) -> dict[str, Any]:
    """Return options with the places in them as absolute paths.

    Args:
        options: Values by name.
        start: The directory that relative places are taken from.
    """
    known = names()
    return {
        name: rooted(x, start=start, names=known, bare=is_bare(name)) if _may_name(name, x) else x
        for name, x in options.items()
    }


def allow(run: Run, options: Mapping[str, Any]) -> None:
    """Have the user confirm places outside a run, and servers, that its own options name.

    In a run that this account began, the user named them. Code is imported for no run's word, whoever began it.

    Args:
        run: The run.
        options: Of :func:`options_of`, those that the user did not give himself.

    Raises:
        RedteamError: If one names code, nobody confirms one, or the run's record cannot be read.
    """
    for name, value in options.items():
        code = code_in(name, value) if isinstance(value, str) else None
        if code is not None:
            shown = _from_here(value)
            raise RedteamError(
                f"The run {str(run.path)!r} names code as its {name}: {shown!r}. Code that a run names is not run "
                f"unless you name it yourself; if you trust it, {_cure(name, shown, code)}."
            )
    if not is_own(run):
        confirm_named(options, root=run.path, source=f"The config.json of {str(run.path)!r}")


def _cure(name: str, shown: str, code: str) -> str:
    """Return how code that a run names as one of its options is named again."""
    if is_commanded():
        return f"add {spelled(name, shown)}"
    match = CODE.fullmatch(code)
    if match is not None and name in _OBJECTS:
        return f"import it and give the object itself, {name}={match['name']}"
    return f"register its code with redteam_env.register and add {spelled(name, shown)}"


def _from_here(text: str) -> str:
    """Return an option's text with the places in this directory as one types them here."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def allow_place(text: str, *, holder: Path, option: str) -> None:
    """Have the user confirm a place that a file beside saved weights names, such as that of their base.

    Args:
        text: The place, or the name of what is no place.
        holder: The folder of the weights.
        option: The option by which a user names it.

    Raises:
        RedteamError: If it lies outside of the run, or of the folder if that lies in no run, the run is
            not this account's with that option, and nobody confirms it.
    """
    if not user_said(option, text, holder=holder):
        run = find_run(holder)
        root = holder if run is None else run.path
        confirm_named({option: text}, root=root, source=f"A file in {str(holder)!r}")


def user_said(option: str, value: str, *, holder: Path) -> bool:
    """Whether a folder lies in a run that this account began with a value of an option, or among several.

    Raises:
        RedteamError: If the run's record cannot be read.
    """
    run = find_run(holder)
    if run is None or not is_own(run):
        return False
    meant = with_roots(options_of(run) or {}, Path.cwd()).get(option)
    texts = [x for x in (meant, (run.stored_config() or {}).get(option)) if isinstance(x, str)]
    return value in {*texts, *(part for text in texts for part in listed(text))}


def confirm_places(
    options: Iterable[tuple[str, Any]], *, root: Path, source: str, used: Sequence[str]
) -> None:
    """Have the user confirm the places outside a directory of results that a manifest in it names.

    So too what they would have fetched from the Hugging Face hub.

    Args:
        options: Names and values; a name may come more than once.
        root: The directory.
        source: The manifest, for the question.
        used: The places, and names of the hub, that the user named with ``--use``; what lies in one of
            them is named, too.

    Raises:
        RedteamError: If nobody confirms one.
    """
    known = names()
    for name, value in options:
        if not _may_name(name, value):
            continue
        for place in places_within(value, start=Path.cwd(), names=known, bare=is_bare(name)):
            if not all(leaves(place, Path(x).expanduser()) for x in used):
                continue
            if leaves(place, root):
                outside = f"{str(place)!r} as {name}, which lies outside of it"
                confirm(outside, source=source, named_by=f"--use {place}")
            else:
                _confirm_card(place, root=root, named_by=f"--use {place}")
        for word in _of_hub(name, value):
            if word not in used:
                fetched = f"{word!r} of the Hugging Face hub as {name}"
                confirm(fetched, source=source, named_by=f"--use {word}")


def confirm_named(options: Mapping[str, Any], *, root: Path, source: str) -> None:
    """Have the user confirm the places outside a directory, and the servers, that options in it name.

    So too what they would have fetched from the Hugging Face hub, but for the base of a run's weights; and what
    a card in it, of a judge or a suite, would have fetched, or opened outside of it.

    Args:
        options: Values by name, without those that the user gave himself.
        root: The directory.
        source: Which file names them, for the question.

    Raises:
        RedteamError: If nobody confirms one.
    """
    known = names()
    for name, value in options.items():
        if not _may_name(name, value):
            continue
        named_by = spelled(name, value)
        asked = name not in _OF_THE_RUN and any(
            split_name(part)[1] is not None for part in parts_of(value)
        )
        if "://" in unquote(value) or asked:
            confirm(
                f"{value!r} as {name}, to be asked with your key", source=source, named_by=named_by
            )
        places = places_within(value, start=Path.cwd(), names=known, bare=is_bare(name))
        if any(leaves(place, root) for place in places):
            outside = f"{value!r} as {name}, which lies outside of it"
            confirm(outside, source=source, named_by=named_by)
        for word in _of_hub(name, value):
            fetched = f"{word!r} of the Hugging Face hub as {name}"
            confirm(fetched, source=source, named_by=named_by)
        for place in places:
            if not leaves(place, root):
                _confirm_card(place, root=root, named_by=named_by)


def _of_hub(option: str, text: str) -> list[str]:
    """Return what an option's text names of the Hugging Face hub, without what our own cards do."""
    if option in _OF_THE_RUN or option == "prompts" or "://" in unquote(text):
        return []
    plain = unquote(text)
    words = [x for x in _WORDS.split(plain) if _OF_HUB.fullmatch(x) and not Path(x).exists()]
    ours = {judge_cards.read_card(x).hub for x in judge_cards.card_names()}
    found = dict.fromkeys([*words, *(x for x in _IN_HUB.findall(plain) if not Path(x).exists())])
    return [word for word in found if word not in ours]


def check_links(place: Path) -> None:
    """Have the user confirm each link that leads out of a run, or of a folder that lies in none.

    Raises:
        RedteamError: If nobody confirms one.
    """
    run = find_run(place)
    folder = place if run is None else run.path
    for link in links_out(folder):
        what = f"{str(link.resolve())!r} by the link {str(link.relative_to(folder))!r}"
        confirm(
            f"{what}, which lies outside of it",
            source=f"The directory {str(folder)!r}",
            named_by="a copy in the link's place",
        )


def _confirm_card(place: Path, *, root: Path, named_by: str) -> None:
    """Have the user confirm what a card would have fetched or opened, if a file is one.

    Raises:
        RedteamError: If nobody confirms it, or the card cannot be read.
    """
    if place.suffix != suite_cards.ENDING or not place.is_file():
        return
    table = read_toml(place, remedy="Name another file.")
    found: list[str] = []
    if judge_cards.is_card(table):
        ours = {x for y in judge_cards.card_names() for x in judge_cards.read_card(y).reaches}
        found += [x for x in judge_cards.read_card(place).reaches if x not in ours]
    elif suite_cards.is_card(table):
        parts = suite_cards.read_card(str(place)).data
        found += [f"the file {x.file!r}" for x in parts if x.file and leaves(Path(x.file), root)]
        found += [f"the data set {x.hub!r}" for x in parts if x.hub]
    if found:
        confirm(", ".join(found), source=f"The card {str(place)!r}", named_by=named_by)


def _may_name(name: str, value: Any) -> bool:
    return isinstance(value, str) and (
        name not in _NO_PLACES or value.startswith(MIXED) or names_code(value)
    )
