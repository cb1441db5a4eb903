"""Reading the game's own records where a plug-in or a caller made them: seeds, games, episodes.

A record is checked field by field only if a quick look at its types finds something unusual: most are
made by our own code, and a look takes a tenth of a microsecond.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from redteam_env.border.calls import Read, as_it_is, each, mapping, record
from redteam_env.game import Episode, Exchange, Generation, RedteamError, Seed, Turn, Verdict
from redteam_env.game.values import (
    Unfit,
    flag,
    number,
    optional,
    plain,
    scalar,
    shown,
    text,
    told,
    whole,
)
from redteam_env.protocols import GameSetup, Row
from redteam_env.randomness import Address

T = TypeVar("T")


def share(value: Any) -> float:
    """Return a probability."""
    own = number(value)
    if not 0 <= own <= 1:
        raise Unfit(f"is {shown(value)}", "give a probability from 0 to 1")
    return float(own)


def real(value: Any) -> float:
    """Return a finite number as a float."""
    return float(number(value))


def _integers(value: Any) -> tuple[int, ...]:
    """Return token ids; most are a tuple of ints already."""
    if type(value) is tuple and not set(map(type, value)) - {int}:
        found: tuple[int, ...] = value
    else:
        found = tuple(whole(x) for x in _several(value))
    if found and min(found) < 0:
        raise Unfit(f"holds {min(found)}", "give token ids of at least 0")
    return found


def _floats(value: Any) -> tuple[float, ...]:
    """Return log-probabilities; most are a tuple of floats already."""
    ready = type(value) is tuple and not set(map(type, value)) - {float}
    if ready and all(map(math.isfinite, value)):
        own: tuple[float, ...] = value
        return own
    return tuple(real(x) for x in _several(value))


def _several(value: Any) -> Sequence[Any]:
    if hasattr(value, "tolist"):  # an array or a tensor
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise Unfit(f"is {shown(value)}", "give a tuple of numbers")
    return value


def address(value: Any) -> Address:
    """Return the address of a random stream; numpy's integers become Python's."""
    if not isinstance(value, tuple | list):
        raise Unfit(f"is {shown(value)}", "give a tuple of texts and whole numbers")
    if type(value) is tuple and not set(map(type, value)) - {int, str}:
        return value
    return tuple(str(x) if isinstance(x, str) else whole(x) for x in value)


_SEED: Mapping[str, Read[Any]] = {
    "id": text,
    "text": text,
    "harmful": flag,
    "category": text,
    "source": text,
    "split": text,
}
_GENERATION: Mapping[str, Read[Any]] = {
    "prompt_ids": _integers,
    "completion_ids": _integers,
    "logprobs": _floats,
    "adapter": text,
    "version": whole,
    "temperature": number,
    "finished": flag,
}
_VERDICT: Mapping[str, Read[Any]] = {
    "prompt_harmful": optional(flag),
    "response_refusal": optional(flag),
    "response_harmful": optional(flag),
    "probabilities": lambda value: mapping(value, share, "probabilities"),
    "raw": text,
    "judge": text,
    "error": optional(text),
    "score": optional(share),
}


def seed(value: Any) -> Seed:
    """Return a seed."""
    if (
        type(value) is Seed
        and type(value.harmful) is bool
        and type(value.id)
        is type(value.text)
        is type(value.category)
        is type(value.source)
        is type(value.split)
        is str
    ):
        return value
    return record(value, Seed, _SEED)


def generation(value: Any) -> Generation:
    """Return the tokens behind a turn."""
    return record(value, Generation, _GENERATION)


def verdict(value: Any) -> Verdict:
    """Return a verdict."""
    if (
        type(value) is Verdict
        and type(value.prompt_harmful) in _NONE_OR_BOOL
        and type(value.response_refusal) in _NONE_OR_BOOL
        and type(value.response_harmful) in _NONE_OR_BOOL
        and type(value.raw) is type(value.judge) is str
        and type(value.probabilities) is dict
        and not value.probabilities
        and value.score is None
        and (value.error is None or type(value.error) is str)
    ):
        return value
    return record(value, Verdict, _VERDICT)


_NONE_OR_BOOL = frozenset({bool, type(None)})

_SETUP: Mapping[str, Read[Any]] = {
    "seed": seed,
    "rewritten": flag,
    "path": address,
    "group": whole,
}


def setup(value: Any) -> GameSetup:
    """Return a game that is to be played."""
    if (
        type(value) is GameSetup
        and type(value.rewritten) is bool
        and type(value.group) is int
        and type(value.path) is tuple
        and not set(map(type, value.path)) - {int, str}
        and seed(value.seed) is value.seed
    ):
        return value
    return record(value, GameSetup, _SETUP)


def setups(value: Any) -> list[GameSetup]:
    """Return games that are to be played."""
    return each(value, setup, noun="GameSetups")


def _turn(value: Any) -> Turn:
    return record(value, Turn, _TURN)


def _exchange(value: Any) -> Exchange:
    return record(value, Exchange, _EXCHANGE)


def _components(value: Any) -> dict[str, dict[str, float]]:
    return mapping(value, lambda parts: mapping(parts, number, "numbers"), "components")


_TURN: Mapping[str, Read[Any]] = {
    "seat": text,
    "text": text,
    "visible": text,
    "thought": text,
    "well_formed": flag,
    "forfeit": flag,
    "truncated": flag,
    "generation": optional(generation),
    "error": optional(text),
    "native": text,
    "neutralised": flag,
}
_EXCHANGE: Mapping[str, Read[Any]] = {"verdict": verdict, "components": _components}
_EPISODE: Mapping[str, Read[Any]] = {
    "seed": seed,
    "rewritten": flag,
    "turns": lambda value: tuple(each(value, _turn, noun="Turns")),
    "verdict": optional(verdict),
    "rewards": lambda value: mapping(value, real, "rewards"),
    "components": _components,
    "samples": lambda value: tuple(each(value, text, noun="seats")),
    "void": optional(text),
    "path": address,
    "group": whole,
    "exchanges": lambda value: tuple(each(value, _exchange, noun="Exchanges")),
}


def stored_episode(value: Any) -> Episode:
    """Return a played game as somebody's file holds it, of whatever seats."""
    return record(value, Episode, _EPISODE)


def episode(value: Any, seats: Sequence[str]) -> Episode:
    """Return a played game, with a reward and components for each seat."""
    found = stored_episode(value)
    for name in ("rewards", "components"):
        if set(getattr(found, name)) != set(seats):
            raise Unfit(
                f"gave an Episode whose {name} are those of {sorted(getattr(found, name))}",
                f"give one for each of {list(seats)}",
            )
    if unknown := sorted(set(found.samples) - set(seats)):
        raise Unfit(f"gave an Episode whose samples name {unknown}", f"give some of {list(seats)}")
    return found


def demand(value: Any, read: Read[T], what: str) -> T:
    """Return what a caller gave, checked and converted.

    Args:
        value: What was given.
        read: One of the readers of this module.
        what: What messages call it, such as ``options["seed"]``.

    Raises:
        RedteamError: If it does not fit.
    """
    try:
        return read(value)
    except Unfit as unfit:
        which = f" ({unfit.place} from 0)" if unfit.place is not None else ""
        raise RedteamError(f"{what}{which} {unfit.came}; {unfit.give}.") from None
    except Exception as error:
        raise RedteamError(f"{what} cannot be read: {told(error)}.") from error


def metrics(value: Any) -> Row:
    """Return what is logged: Python's numbers by name, ``None`` where a number is not finite."""
    if not isinstance(value, Mapping):
        raise Unfit(f"returned {shown(value)}", "give a mapping of names to numbers")
    result: Row = {}
    for name, own in value.items():
        if not isinstance(name, str):
            raise Unfit(f"gave metrics with the name {shown(name)}", "give names as texts (str)")
        result[str(name)] = metric(name, own)
    return result


def metric(name: str, value: Any) -> float | int | None:
    """Return one logged number; ``None`` where it is none or not finite."""
    own = scalar(value)
    if own is None or own is True or own is False:
        return own
    if isinstance(own, Real) and not isinstance(own, Integral):
        return float(own) if math.isfinite(own) else None
    try:
        return whole(own)
    except Unfit:
        raise Unfit(
            f"gave metrics in which {name!r} is {shown(value)}", "log a number or None"
        ) from None


def kept(value: Any) -> dict[str, Any]:
    """Return a mapping as plain JSON, such as what a resumed run needs."""
    found: dict[str, Any] = {}
    for name, own in mapping(value, as_it_is, "plain JSON").items():
        try:
            found[name] = plain(own)
        except Unfit as unfit:
            raise Unfit(f"returned {name!r}, which {unfit.came}", unfit.give) from None
    return found
