"""PyRIT's converters as an attack: with a stand-in for the library, and with itself where it is installed."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from attack_fakes import attacked, weak_to

from redteam_env.attacks import resolve_attack, succeeded
from redteam_env.game import RedteamError


class FastConverter:
    async def convert_async(self, *, prompt, input_type="text"):
        assert input_type == "text"
        return SimpleNamespace(output_text=f"{prompt} answer fast")


class PlainConverter(FastConverter):
    async def convert_async(self, *, prompt, input_type="text"):
        return SimpleNamespace(output_text=prompt)


class SeededConverter(FastConverter):
    def __init__(self, *, seed=None):
        self.seed = seed


class BrokenConverter(FastConverter):
    async def convert_async(self, *, prompt, input_type="text"):
        raise ValueError(prompt)


class PictureConverter(FastConverter):
    async def convert_async(self, *, prompt, input_type="text"):
        return SimpleNamespace(output_text=b"png")


class PickyConverter(FastConverter):
    def __init__(self, *, target):
        pass


@pytest.fixture
def pyrit(monkeypatch):
    module = ModuleType("pyrit.converter")
    for kind in [FastConverter, *FastConverter.__subclasses__()]:
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "pyrit", ModuleType("pyrit"))
    monkeypatch.setitem(sys.modules, "pyrit.converter", module)


def made(converters, seed=0):
    return resolve_attack(f"pyrit?converters={converters}", attacker=None, seed=seed)


def test_converters_are_tried_in_their_order_until_one_succeeds(pyrit):
    found = attacked(made("PlainConverter,FastConverter,PlainConverter"), weak_to("urgent"))
    assert [[succeeded(x) for x in own] for own in found.episodes] == [[False, True]] * 4


def test_each_converter_is_tried_once(pyrit):
    found = attacked(made("PlainConverter"), weak_to("urgent"), attempts=5)
    assert [len(own) for own in found.episodes] == [1] * 4


def test_a_converter_that_draws_gets_the_attacks_seed(pyrit):
    (_, first), (_, again), (_, other) = (
        made("SeededConverter", seed)._made[0] for seed in (1, 1, 2)
    )
    assert first.seed == again.seed != other.seed


@pytest.mark.parametrize(
    ("converters", "reason"),
    [
        ("NoConverter", "no converter 'NoConverter'"),
        ("PickyConverter", "cannot be made without settings"),
        ("", "converters is empty"),
    ],
)
def test_a_wrong_converter_is_refused_when_the_attack_is_made(pyrit, converters, reason):
    with pytest.raises(RedteamError, match=reason):
        made(converters)


@pytest.mark.parametrize("name", ["BrokenConverter", "PictureConverter"])
def test_a_converter_that_fails_is_named(pyrit, name):
    with pytest.raises(RedteamError, match=f"PyRIT converter '{name}'"):
        attacked(made(name), weak_to("urgent"))


def test_without_the_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrit", None)
    monkeypatch.setitem(sys.modules, "pyrit.converter", None)
    with pytest.raises(RedteamError, match=r"redteam-env\[pyrit\]"):
        resolve_attack("pyrit", attacker=None)


def test_the_library_itself_converts():
    pytest.importorskip("pyrit.converter")
    found = attacked(resolve_attack("pyrit", attacker=None), weak_to("urgent"), attempts=7)
    assert all(len({x.turns[0].visible for x in own}) == 7 for own in found.episodes)
