"""Cards of recipes: what one says, what it takes from another, and what is refused in words."""

import pytest

from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.recipes import find_recipe, recipe_faults, recipe_names

BODY = """
title = "Ours, on {size}"
paper = "A paper"
notes = ["a note"]

[settings]
model = { value = "owner/m-{size}", source = "script" }
steps = { value = 7, source = "section 4" }

[sizes]
"1B" = "table 2"
"9B" = "ours"

[needs]
sft_file = "examples"
"""


@pytest.fixture
def cards(tmp_path):
    """A plug-in with a folder of cards; returns a writer of them."""

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.toml").write_text(text)

    with registry.isolated():
        registry.register("recipes", "mine", lambda: tmp_path)
        yield write


def test_a_file_in_the_folder_is_a_recipe_for_each_size(cards):
    cards(mine=BODY)
    assert {"mine_1b", "mine_9b", "abs_3b"} <= set(recipe_names())
    found = find_recipe("mine_1b")
    assert found.title == "Ours, on 1B"
    assert found.options == {"model": "owner/m-1B", "steps": 7}
    assert found.settings["model"].source == "script; 1B: table 2"
    assert found.settings["steps"].source == "section 4"
    assert found.needs == {"sft_file": "examples"}


def test_a_card_without_sizes_is_one_recipe(cards):
    cards(plain='[settings]\nsteps = { value = 3, source = "ours" }\n')
    assert find_recipe("plain").options == {"steps": 3}


def test_a_card_takes_from_the_one_that_it_extends(cards):
    more = """
    extends = "mine"
    inherited = "ours, as there"
    notes = ["another"]
    [settings]
    steps = { value = 9, source = "abstract" }
    sft_file = { value = "builtin.jsonl", source = "ours" }
    """
    cards(mine=BODY, more=more)
    found = find_recipe("more")
    assert found.options["steps"] == 9
    assert found.settings["steps"].source == "abstract"
    assert found.settings["model"].source == "ours, as there: script"
    assert found.notes == ("a note", "another")
    assert found.needs == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'", "Unknown entry of the card .*'titel'. Did you mean 'title'"),
        ("title = 3", "title of the card .* is 3"),
        ("[settings]\nsteps = 3", "The setting 'steps' of the card .*give it a value and a source"),
        ("[settings]\nsteps = { value = 3 }", "give it a value and a source"),
        ("[settings]\nsteps = { value = 3, source = '' }", "must be a text"),
        ("notes = [3]", "3 in the card .* must be a text"),
        ("[sizes]\n'1B' = 1", "1 in the card .* must be a text"),
        ("extends = 'none'", "extends 'none'; name another card of its folder"),
        ("extends = 'bad'", "extends 'bad'; name another card"),
        ("extends = '../other/bad'", "name another card of its folder"),
        ("title = ", "no TOML"),
    ],
)
def test_a_faulty_card_is_refused_in_words(cards, text, message):
    cards(bad=text)
    with pytest.raises(RedteamError, match=message):
        find_recipe("bad" if "sizes" not in text else "bad_1b")


def test_two_cards_of_one_name_are_refused_and_the_others_go_on(cards):
    cards(abs_3b="title = 'x'", bad="title = 3")
    with pytest.raises(RedteamError, match="The recipe 'abs_3b' is in"):
        find_recipe("abs_3b")
    assert find_recipe("abs_7b").options["rank"] == 32
    assert set(recipe_faults()) == {"abs_3b", "bad"}
    assert not {"abs_3b", "bad"} & set(recipe_names())


@pytest.mark.parametrize("broken", [lambda: "nowhere", lambda: 1 / 0])
def test_a_plug_in_without_a_folder_is_named_and_the_others_go_on(broken, capsys):
    with registry.isolated():
        registry.register("recipes", "mine", broken)
        assert "'mine'" in recipe_faults()["mine"]
        assert main(["recipes", "list"]) == 0
        told = capsys.readouterr().out
    assert "abs_3b: Anchored" in told
    assert "mine: cannot be read" in told
