"""Every range that a settings class states is enforced, with an error that names the field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

import agents
import algorithms
import redteam_env
from redteam_env.game import RedteamError, RewardTable
from redteam_env.game.checks import Range

TINY = 1e-6


def classes():
    """All dataclasses of the three packages that can be imported without an optional library."""
    for package in (redteam_env, agents, algorithms):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            try:
                found = import_module(module.name)
            except ImportError:
                continue
            for kind in vars(found).values():
                if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.name:
                    yield kind


def ranges(hint):
    if get_origin(hint) is Annotated:
        return [(get_args(hint)[0], x) for x in get_args(hint)[1:] if isinstance(x, Range)]
    return [pair for inner in get_args(hint) for pair in ranges(inner)]


BOUNDS = [
    (kind, field.name, base, span)
    for kind in sorted(set(classes()), key=lambda x: (x.__module__, x.__qualname__))
    for field in fields(kind)
    if get_origin(hint := get_type_hints(kind, include_extras=True)[field.name])
    in (Annotated, *map(get_origin, [int | None]))
    for base, span in ranges(hint)
]


def outside(base, span):
    """Values just outside a range, and those that are no number at all."""
    step = 1 if base in (int, int | None) else TINY
    yield from (math.nan, math.inf, -math.inf, "1", True)
    if span.low > -math.inf:
        yield span.low if span.above else span.low - step
    if span.high < math.inf:
        yield span.high if span.below else span.high + step
    if span.multiple:
        yield span.low + 1


NEEDED = {"url": "http://h", "suites": ("raw",), "contrasts": ()}
"""Values of fields without a default that not every value of their type will do for."""
EMPTY = {tuple: (), Sequence: (), Mapping: {}}
PLAIN = {str: "x", Path: Path("x"), int: 1, float: 1.0}


def others(kind):
    """What a class needs beside the field that is wrong."""
    whole = {} if kind is not RewardTable else {"function": abs}
    hints = get_type_hints(kind)
    for x in fields(kind):
        if x.init and x.default is MISSING and x.default_factory is MISSING:
            default = EMPTY.get(get_origin(hints[x.name]), PLAIN.get(hints[x.name], 1))
            whole[x.name] = NEEDED.get(x.name, default)
    return whole


def test_settings_with_ranges_were_found():
    assert len({kind for kind, *_ in BOUNDS}) > 25
    assert len(BOUNDS) > 150


@pytest.mark.parametrize(
    ("kind", "name", "base", "span"), BOUNDS, ids=[f"{x[0].__name__}.{x[1]}" for x in BOUNDS]
)
def test_a_bound_is_enforced_and_the_field_is_named(kind, name, base, span):
    for value in outside(base, span):
        with pytest.raises(RedteamError, match=rf"\b{name} is .*give .*\d"):
            kind(**{**others(kind), name: value})
