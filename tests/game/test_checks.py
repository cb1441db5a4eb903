"""Fields of settings are checked by their annotations, and errors name field, value and cure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import (
    Count,
    RedteamError,
    Share,
    above,
    at_least,
    between,
    check_fields,
    check_values,
    multiple_of,
)
from redteam_env.game.checks import Range

NAN, INF = float("nan"), float("inf")


class Speaker(Protocol):
    def speak(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    count: Count = 1
    share: Share = 0.5
    rate: Annotated[float, at_least(0)] = 0.1
    width: Annotated[float | None, above(0)] = None
    decay: Annotated[float, between(0, 1, below=True)] = 0.9
    quarters: Annotated[int, multiple_of(4)] = 4
    anywhere: float = 0.0
    sizes: tuple[Count, ...] = (1, 2)
    mode: Literal["fast", "slow"] = "fast"
    drawn: Literal["ansi", "human"] | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class More(Settings):
    rate: Annotated[float, above(1)] = 2.0
    extra: Count = 1


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("count", 0, "count is 0; give a whole number >= 1."),
        ("count", True, "count is True; give a whole number >= 1."),
        ("count", 1.0, "count is 1.0; give a whole number >= 1."),
        ("count", "1", "count is '1'; give a whole number >= 1."),
        ("share", 1.5, "share is 1.5; give a finite number in [0, 1]."),
        ("share", NAN, "share is nan; give a finite number in [0, 1]."),
        ("rate", -1, "rate is -1; give a finite number >= 0."),
        ("rate", INF, "rate is inf; give a finite number >= 0."),
        ("width", 0, "width is 0; give a finite number > 0 or none."),
        ("decay", 1, "decay is 1; give a finite number in [0, 1)."),
        ("quarters", 6, "quarters is 6; give a whole number >= 4 and a multiple of 4."),
        ("quarters", 0, "quarters is 0; give a whole number >= 4 and a multiple of 4."),
        ("anywhere", INF, "anywhere is inf; give a finite number."),
        ("anywhere", None, "anywhere is None; give a finite number."),
        ("sizes", (1, 0), "sizes is (1, 0); give a list, each entry a whole number >= 1."),
        ("mode", "fats", "Unknown mode 'fats'. Did you mean 'fast'? Allowed: fast, slow."),
        ("mode", 1, "Unknown mode 1. Allowed: fast, slow."),
        ("drawn", "nsi", "Unknown drawn 'nsi'. Did you mean 'ansi'? Allowed: ansi, human."),
    ],
)
def test_a_wrong_value_is_named_with_the_cure(name, value, text):
    with pytest.raises(RedteamError) as caught:
        Settings(**{name: value})
    assert str(caught.value) == text


def test_a_subclass_checks_its_own_fields_and_those_it_narrows():
    for options in ({"extra": 0}, {"rate": 0.5}, {"count": 0}):
        (name,) = options
        with pytest.raises(RedteamError, match=f"^{name} is"):
            More(**options)
    assert More(rate=1.5, extra=2).decay == 0.9


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", np.int64(3)), ("share", np.float32(0.5)), ("share", np.int8(1)), ("share", 1)],
)
def test_numbers_of_numpy_are_taken_and_become_pythons(name, value):
    found = getattr(Settings(**{name: value}), name)
    assert found == value
    assert type(found) in (int, float)


def test_a_bool_of_numpy_is_no_number():
    with pytest.raises(RedteamError, match=r"count is"):
        Settings(count=np.bool_(True))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_share_is_taken_exactly_from_0_to_1(value):
    if 0 <= value <= 1:
        assert Settings(share=value).share == value
    else:
        with pytest.raises(
            RedteamError, match=r"^share is .*; give a finite number in \[0, 1\]\.$"
        ):
            Settings(share=value)


@dataclass
class Odd:
    words: Sequence[str] = ()
    pairs: Sequence[tuple[str, int]] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    either: int | str | None = None
    inner: "Odd | None" = None
    place: str | Path | None = None
    function: Callable[[int], int] | None = None
    speaker: Speaker | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("words", [[], ["a"], ("a", "b")], ["a", [1], {"a": 1}, None]),
        ("pairs", [[], [["a", 1]], [("a", 1)]], [["a", 1], [["a"]], [["a", "b"]], [["a", 1, 2]]]),
        ("tables", [{}, {"a": {}}, {"a": {"b": object()}}], [[], {"a": 1}, "a"]),
        ("either", [1, "a", None], [1.5, [], True]),
        ("inner", [None, Odd()], ["a", {}]),
        ("place", [None, "a", Path("a")], [1, []]),
        ("function", [None, abs], ["a", 1]),
        ("speaker", [None, "whoever resolves it decides"], []),
        ("anything", [None, 1, object], []),
        ("no_field", [None, 1], []),
    ],
)
def test_values_fit_the_types_of_a_dataclass_or_are_named(name, good, bad):
    for value in good:
        check_values(Odd, {name: value})
    for value in bad:
        with pytest.raises(RedteamError, match=rf"^\[x\] {name} is .*; give "):
            check_values(Odd, {name: value}, "[x] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    device: Literal["auto", "all"] | int = "auto"
    pair: tuple[float, float] = (0.0, 1.0)
    part: Annotated[float, Range(low=0, high=1, above=True)] = 1.0
    level: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "[model] ")


@pytest.mark.parametrize(
    ("field_name", "value", "text"),
    [
        ("device", "cpu", "device is 'cpu'; give 'auto' or 'all' or a whole number."),
        ("pair", (1.0,), "pair is (1.0,); give a list of 2."),
        ("part", 0, "part is 0; give a finite number in (0, 1]."),
        ("level", -INF, "level is -inf; give a finite number."),
    ],
)
def test_an_error_says_where_the_field_stands_and_all_that_it_may_hold(field_name, value, text):
    with pytest.raises(RedteamError) as caught:
        Mixed(**{field_name: value})
    assert str(caught.value) == f"[model] {text}"
    with pytest.raises(RedteamError) as caught:
        check_values(Mixed, {field_name: value})
    assert str(caught.value) == text
