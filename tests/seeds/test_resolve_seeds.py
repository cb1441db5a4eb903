import pytest

from redteam_env import registry
from redteam_env.game import RedteamError, Seed
from redteam_env.protocols import DataCard
from redteam_env.randomness import generator
from redteam_env.rollout import schedule
from redteam_env.seeds import ListSource, resolve_seeds
from redteam_env.seeds.source import every_seed


@pytest.fixture
def echo_source():
    """A registered source that remembers how it was asked for."""
    asked = []

    def factory(argument=None, **options):
        asked.append((argument, options))
        card = DataCard(name="theirs", licence="CC0-1.0", revision="1", sha256="", origin="test")
        return ListSource([Seed(id="1", text="A note", harmful=True)], card)

    registry.register("seeds", "theirs", factory)
    return asked


def error_of(spec):
    with pytest.raises(RedteamError) as caught:
        resolve_seeds(spec)
    return str(caught.value)


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt\nWrite a rude note.\n", encoding="utf-8")
    return path


def test_a_source_is_returned_as_it_is():
    source = resolve_seeds("builtin")
    assert resolve_seeds(source) is source


def test_argument_and_options_reach_the_factory(echo_source):
    resolve_seeds("theirs:a/b:c?x=1&y=one%2Ctwo|three&z=")
    resolve_seeds("theirs")
    assert echo_source == [("a/b:c", {"x": "1", "y": "one,two|three", "z": ""}), (None, {})]


def test_a_path_means_a_file(csv):
    source = resolve_seeds(f"{csv}?text=prompt&all=harmful")
    assert [seed.text for seed in every_seed(source)] == ["Write a rude note."]
    assert every_seed(resolve_seeds(f"file:{csv}?text=prompt&all=harmful")) == every_seed(source)


def test_a_path_with_a_file_ending_that_is_missing_is_missed_as_a_file():
    assert "no seed file 'typo.csv'" in error_of("typo.csv")


def test_a_name_is_not_hidden_by_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "builtin").write_text("", encoding="utf-8")
    assert len(every_seed(resolve_seeds("builtin"))) == 400


def test_parts_are_united_and_filtered(csv):
    union = resolve_seeds(f"{csv}?text=prompt&all=harmful&heldout=0, builtin?only=benign")
    assert len(union.draw(1, generator((0,)), harmful=True)) == 1
    assert len([seed for seed in every_seed(union) if not seed.harmful]) == 200
    assert len(every_seed(union)) == 201


def test_a_union_that_overlaps_across_splits_names_both(tmp_path):
    held = next(iter(resolve_seeds("builtin").seeds("heldout")))
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"text": "{held.text.upper()}", "harmful": 1}}\n', encoding="utf-8")
    message = error_of(f"builtin,{path}?heldout=0")
    assert f"builtin/{held.id}" in message
    assert "mine.jsonl/mine.jsonl:1" in message


def test_a_source_without_benign_seeds_says_how_to_get_some(csv):
    source = resolve_seeds(f"{csv}?text=prompt&all=harmful&heldout=0")
    with pytest.raises(RedteamError, match=r"builtin\?only=benign.*benign_fraction to 0"):
        schedule(source, 4, path=(0,))
    assert len(schedule(source, 4, path=(0,), benign_fraction=0.0)) == 4


def test_an_unknown_source_names_the_nearest_and_all():
    message = error_of("bultin")
    assert "Unknown seed source 'bultin'. Did you mean 'builtin'?" in message
    assert "advbench, apothecary, builtin, file, harmbench, hub, strongreject" in message


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("", "empty part"),
        ("builtin,,builtin", "empty part"),
        ("builtin?only=bad", "'bad'"),
        ("builtin?onlybenign", "?key=value"),
        ("builtin?a=1&a=2", "twice"),
        ("builtin?name=x", "'name'"),
        ("builtin?argument=x", "'argument'"),
        ("builtin:small", "'small'"),
        ("file", "needs a path"),
    ],
)
def test_a_wrong_specification_is_explained(spec, part):
    assert part in error_of(spec)


def test_what_is_no_source_is_refused(echo_source):
    assert "no method" in error_of(3)
    registry.register("seeds", "broken", lambda argument=None: object())
    assert "'broken'" in error_of("broken")

    class Cardless:
        def draw(self): ...

        def seeds(self): ...

    assert "has no card" in error_of(Cardless())


def test_an_option_that_their_factory_does_not_take_is_named():
    registry.register("seeds", "strict", lambda argument=None: None)
    assert "['argument', 'colour']" in error_of("strict?colour=red")
