"""Calling a method of a plug-in, and reading what it returns.

Coroutines are run to their end, so every method may be ``async``. What a plug-in raises is named with
its own exception as cause, ``SystemExit`` too, which would end a command as if all were well. A
:class:`~redteam_env.game.RedteamError` already says what is wrong and passes, and so do Ctrl-C and a
machine without room, files or memory, which is told of by :mod:`redteam_env.utils.machine`.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from redteam_env.game import RedteamError, Seed
from redteam_env.game.values import Unfit, shown, told
from redteam_env.randomness import Address
from redteam_env.utils import machine
from redteam_env.utils.threads import stop_event

T = TypeVar("T")

Read = Callable[[Any], T]
Games = Callable[[int | None], str]
"""Names the game of the k-th of several values, or for ``None`` those of all of them."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in as messages name it.

    Attributes:
        thing: The plug-in.
        what: What it is called, such as ``judge 'lexical'``.
        methods: Whether messages begin with the method, as it has several.
        asks: What its user wrote, if it passes on what that answers, such as ``judge function mine``.
    """

    thing: Any
    what: str
    methods: bool = True
    asks: str = ""

    def subject(self, method: str) -> str:
        """Return what a sentence about one of its methods begins with."""
        if self.asks:
            return f"Your {self.asks}"
        return f"{method}() of the {self.what}" if self.methods else f"The {self.what}"


def as_it_is(value: T) -> T:
    """Return a value as it is."""
    return value


def nothing(value: object) -> None:
    """Take no notice of what a method returns that is to return nothing."""
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise Unfit(
            f"returned {_kind(value)}", "a method with yield does nothing when it is called"
        )


def call(
    plugin: Plugin,
    method: str,
    /,
    *arguments: Any,
    returns: str,
    read: Read[T],
    games: Games | None = None,
    writes: bool = False,
    **options: Any,
) -> T:
    """Call a method of a plug-in.

    Args:
        plugin: The plug-in.
        method: The method's name.
        *arguments: What it is given.
        returns: What it returns, in words, such as ``one verdict for each dialogue``.
        read: Checks and converts what came; it raises :class:`~redteam_env.game.values.Unfit`.
        games: Names the games that the call is about.
        writes: Whether it writes into a run's directory: whatever the machine refuses it then passes.
        **options: Keyword arguments of the method.

    Returns:
        What ``read`` made of it.

    Raises:
        RedteamError: If there is no such method, it raises, or what it returns is not as it should be.
    """
    function = method_of(plugin, method)
    try:
        found = finished(function(*arguments, **options))
    except Unfit as unfit:  # of what a function answered
        raise refusal(
            plugin, method, unfit.came, returns, games, place=unfit.place, give=unfit.give
        ) from None
    except BaseException as error:
        if passes(error) or (writes and machine.refusal(error) is not None):
            raise
        raise refusal(plugin, method, f"raised {told(error)}", returns, games) from error
    return reading(plugin, method, found, returns=returns, read=read, games=games)


def passes(error: BaseException) -> bool:
    """Whether what a plug-in raised is not its own fault, or says already what is wrong."""
    if isinstance(error, CancelledError):  # of the work that the plug-in was called in
        return stop_event().is_set()
    return isinstance(error, RedteamError | KeyboardInterrupt) or machine.used_up(error)


def finished(value: Any) -> Any:
    """Return what a coroutine returns in the end; other values as they are."""
    if not inspect.iscoroutine(value):
        return value
    from redteam_env.utils.aside import run_aside  # noqa: PLC0415 - asyncio, which most do without

    return run_aside(value)


def reading(
    plugin: Plugin,
    method: str,
    value: Any,
    *,
    returns: str,
    read: Read[T],
    games: Games | None = None,
) -> T:
    """Read what a method of a plug-in returned, as :func:`call` does."""
    try:
        return read(value)
    except RedteamError:
        raise
    except Unfit as unfit:
        raise refusal(
            plugin, method, unfit.came, returns, games, place=unfit.place, give=unfit.give
        ) from None
    except Exception as error:
        came = f"returned {_kind(value)}, which cannot be read ({told(error)})"
        raise refusal(plugin, method, came, returns, games) from error


def refusal(
    plugin: Plugin,
    method: str,
    came: str,
    returns: str,
    games: Games | None = None,
    *,
    place: int | None = None,
    give: str = "",
) -> RedteamError:
    """Return the error that names a plug-in, its method, the game, what came and what was expected."""
    where = f", for {games(place)}" if games is not None else ""
    cure = f"; {give}" if give else ""
    name = f"{type(plugin.thing).__name__}.{method}() returns"
    if plugin.asks:
        name = "It is to return"
    return RedteamError(f"{plugin.subject(method)} {came}{where}{cure}. {name} {returns}.")


def method_of(plugin: Plugin, method: str) -> Callable[..., Any]:
    """Return a method of a plug-in.

    Raises:
        RedteamError: If it has none of that name.
    """
    try:
        found = getattr(plugin.thing, method, None)
    except Exception as error:
        raise RedteamError(f"{method} of the {plugin.what} raised {told(error)}.") from error
    if inspect.isclass(plugin.thing) and inspect.isfunction(
        inspect.getattr_static(plugin.thing, method, None)
    ):
        name = plugin.thing.__name__
        raise RedteamError(
            f"The {plugin.what} is the class {name}; give an object of it, {name}(...)."
        )
    if callable(found):
        return found  # type: ignore[no-any-return]
    raise RedteamError(
        f"The {plugin.what} is {type(plugin.thing).__name__}, which has no method {method}(); "
        "see redteam_env.protocols for what it must offer."
    )


def attribute(plugin: Plugin, name: str, read: Read[T], default: Any = None) -> T:
    """Return an attribute of a plug-in, checked and converted.

    Args:
        plugin: The plug-in.
        name: The attribute.
        read: As in :func:`call`.
        default: What it is where the plug-in lacks it.

    Raises:
        RedteamError: If it is not as it should be, or reading it raises.
    """
    try:
        return read(getattr(plugin.thing, name, default))
    except RedteamError:
        raise
    except Unfit as unfit:
        raise RedteamError(f"{name} of the {plugin.what} {unfit.came}; {unfit.give}.") from None
    except Exception as error:
        raise RedteamError(f"{name} of the {plugin.what} raised {told(error)}.") from error


def listed(value: Any, noun: str) -> list[Any]:
    """Return a sequence as a list of its own, which nobody else changes.

    Raises:
        Unfit: If it is a text, a mapping, a generator or anything else that is no sequence.
    """
    if type(value) is list:
        return value.copy()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return list(itertools.islice(value, len(value)))
    raise Unfit(f"returned {_kind(value)}", f"give a list of {noun}")


def each(
    value: Any, read: Read[T], *, noun: str, count: int | None = None, to: str = ""
) -> list[T]:
    """Return a sequence with each of its members checked and converted.

    Args:
        value: The sequence.
        read: What is done with each member.
        noun: What the members are called, in the plural.
        count: How many there must be; ``None`` for any number.
        to: What the number is compared with in messages, such as ``to 3 requests``.

    Raises:
        Unfit: If it is no sequence, has another length, or a member does not fit, with its place.
    """
    members = listed(value, noun)
    if count is not None and len(members) != count:
        raise Unfit(f"gave {len(members)} {noun} {to}", "")
    result: list[T] = []
    try:
        for member in members:
            result.append(read(member))  # noqa: PERF401 - its length says where reading stopped
    except Unfit as unfit:
        unfit.place = len(result)
        raise
    return result


def record(value: Any, kind: type[T], readers: Mapping[str, Read[Any]]) -> T:
    """Return one of our records with its fields checked and converted.

    Args:
        value: The record.
        kind: Its class.
        readers: What is done with each field.

    Raises:
        Unfit: If it is something else, or a field does not fit, which is named.
    """
    name = kind.__name__
    if not isinstance(value, kind):
        raise Unfit(f"gave {_kind(value)} in place of a {name}", f"give a redteam_env.{name}")
    changed = {}
    for field, read in readers.items():
        own = getattr(value, field)
        try:
            new = read(own)
        except Unfit as unfit:
            came = re.sub("^returned", "is", unfit.came)
            raise Unfit(f"gave a {name} whose {field} {came}", unfit.give) from None
        if new is not own:
            changed[field] = new
    return replace(value, **changed) if changed else value  # type: ignore[type-var]


def mapping(value: Any, read: Read[T], noun: str, key: Read[str] = as_it_is) -> dict[str, T]:
    """Return a mapping of texts to checked and converted values, as a dict of its own.

    Args:
        value: The mapping.
        read: What is done with each value.
        noun: What the values are called, in the plural.
        key: What is done with each key.

    Raises:
        Unfit: If it is no mapping, a key is no text, or a value does not fit, which is named.
    """
    if not isinstance(value, Mapping):
        raise Unfit(f"returned {_kind(value)}", f"give a mapping of names to {noun}")
    result = {}
    for name, own in value.items():
        if not isinstance(name, str):
            raise Unfit(f"gave the name {shown(name)}", "give names as texts (str)")
        try:
            result[key(str(name))] = read(own)
        except Unfit as unfit:
            raise Unfit(f"gave {name!r}, which {unfit.came}", unfit.give) from None
    return result


def game_name(path: Address = (), seed: Seed | None = None) -> str:
    """Return what messages call a game: its address, and the seed that it is played from."""
    of = f"seed {shown(seed.id)}" if seed is not None else ""
    if not path:
        return f"the game of {of}" if of else "the game"
    return f"game {path} of {of}" if of else f"game {path}"


def games_of(names: Callable[[int], str], count: int) -> Games:
    """Return what names the games of several values.

    Args:
        names: Names the game of the k-th value.
        count: How many there are, at least one.
    """

    def games(place: int | None) -> str:
        if place is not None:
            return names(place)
        return names(0) if count == 1 else f"{names(0)} and {count - 1} more"

    return games


def _kind(value: Any) -> str:
    """Return what a value is, for messages: nothing, or its type and what it looks like."""
    if value is None:
        return "nothing"
    if isinstance(value, str | bytes | bool | int | float):
        return f"{type(value).__name__} {shown(value)}"
    return type(value).__name__
