"""From what a user names behind ``--suite`` to suites.

Names stand between commas. A name is that of a card, of a group (each paper's set with that paper's
metric), of a registered suite (the entry-point group ``redteam_env.suites``), or the path of a user's own card or group (``.toml``). ``NAME=FILE`` reads a suite's requests
from a file or folder of the same shape as its data set; of several parts, ``NAME=FILE1+FILE2``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from redteam_env import registry
from redteam_env.game import RedteamError, at_least, check_fields, unknown_name
from redteam_env.suites.card import (
    ENDING,
    SuiteCard,
    card_names,
    check_metric,
    group_names,
    known_fields,
    read_card,
    read_table,
)
from redteam_env.utils.lists import listed

_NO_NAME = re.compile(r"[^\w.-]+")
"""What a suite's name, which is that of a file, too, does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One row of a group.

    Attributes:
        card: The suite.
        title: Its name in the group's table, by default the card's.
        metric: The paper's metric of each label, by default the card's; labels that are not named are
            not played.
        where: Further conditions on the rows: cells by column.
        temperature: The paper's sampling temperature, by default the card's.
        note: What is uncertain.
    """

    card: str
    title: str = ""
    metric: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    temperature: Annotated[float | None, at_least(0)] = None
    note: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "suite.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A suite that is to be played.

    Attributes:
        name: What it is called in results; unique among those that are played together.
        card: The suite; ``None`` for a registered one, which is made once the seeds are known.
        files: A file or folder for each part of its data, in place of the card's.
    """

    name: str
    card: SuiteCard | None
    files: tuple[str, ...] = ()


def resolve_entries(spec: str) -> list[Entry]:
    """Return the suites that a user names.

    Args:
        spec: See the module's text.

    Raises:
        RedteamError: If a name is unknown or given twice, a card or group is faulty, or a file is named
            for a suite that is not played.
    """
    parts = listed(spec)
    if not parts:
        raise RedteamError(f"--suite {spec!r} names no suite; cards: {', '.join(card_names())}.")
    found: list[Entry] = []
    files: dict[str, tuple[str, ...]] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals:
            if not value or name in files:
                raise RedteamError(f"--suite has {part!r}; write NAME=FILE once for each suite.")
            files[name] = tuple(value.split("+"))
        found += [] if equals else _named(name)
    played = {entry.card.name for entry in found if entry.card is not None}
    for name in files:
        if name in registry.names("suites"):
            raise RedteamError(
                f"--suite has a file for {name!r}, a registered suite, which has requests of its own; leave "
                "the file out."
            )
        if name not in played:
            found += _named(name)
    given = {key.removesuffix(ENDING).rpartition("/")[2]: own for key, own in files.items()}
    cards = {entry.card.name for entry in found if entry.card is not None}
    for name in given:
        if name not in cards:
            raise RedteamError(
                f"--suite has a file for {name!r}, which is a group of suites; give one of its suites a file: "
                f"{', '.join(f'{card}=FILE' for card in sorted(cards))}."
            )
    found = [x if x.card is None else replace(x, files=given.get(x.card.name, ())) for x in found]
    names = [entry.name for entry in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RedteamError(f"--suite names {twice} twice; name each suite once.")
    return found


def _named(name: str) -> list[Entry]:
    registered = registry.names("suites")
    if name in registered:
        return [Entry(name=name, card=None)]
    if name.endswith(ENDING):
        table, _ = read_table("cards", name)
        if "suite" in table:
            return _group(name)
    elif name in group_names():
        return _group(name)
    elif name not in card_names():
        raise registry.unknown_plugin(
            "suites",
            name,
            (*card_names(), *group_names(), *registered),
            hint=f"A card of your own is named by its path (NAME{ENDING}).",
        )
    card = read_card(name)
    return [Entry(name=card.name, card=card)]


def _group(name: str) -> list[Entry]:
    table, place = read_table("groups", name)
    try:
        return _members(table)
    except RedteamError as error:
        raise RedteamError(f"The group of suites {place}: {error}") from error


def _members(table: Mapping[str, Any]) -> list[Entry]:
    for key in table:
        if key not in {"title", "source", "suite"}:
            raise unknown_name("field", key, ("title", "source", "suite"))
    rows = table["suite"]
    if not isinstance(rows, list) or not rows:
        raise RedteamError("suite is no list; write [[suite]] above each.")
    members = [Member(**known_fields(Member, row, "suite.")) for row in rows]
    cards = [member.card for member in members]
    return [_entry(member, several=cards.count(member.card) > 1) for member in members]


def _entry(member: Member, *, several: bool) -> Entry:
    if member.card not in card_names() and not member.card.endswith(ENDING):
        raise unknown_name("card", member.card, card_names())
    card = read_card(member.card)
    for label, metric in member.metric.items():
        if label not in card.metric:
            raise RedteamError(f"{card.name!r} has no {label} requests that it plays.")
        check_metric(metric, label)
    data = card.data
    if member.where:
        conditions = ";".join(f"{column}:{cells}" for column, cells in member.where.items())
        data = tuple(replace(part, columns=_with(part.columns, conditions)) for part in data)
    changed = replace(
        card,
        title=member.title or card.title,
        metric=dict(member.metric) or card.metric,
        data=data,
        temperature=card.temperature if member.temperature is None else member.temperature,
        note=" ".join(filter(None, (card.note, member.note))),
    )
    own = [f"{column}-{cells}" for column, cells in member.where.items()]
    name = "-".join([card.name, *own]) if several else card.name
    return Entry(name=_NO_NAME.sub("_", name), card=changed)


def _with(columns: Mapping[str, str], conditions: str) -> dict[str, str]:
    both: Sequence[str] = [x for x in (columns.get("where", ""), conditions) if x]
    return {**columns, "where": ";".join(both)}
