"""Parts that do not fit each other are refused before anything is read or loaded, unless it is asked for."""

import pytest

from redteam_env import RedteamError, registry
from redteam_env.cli.main import main
from redteam_env.protocols import speaks
from redteam_env.worlds import check_fit


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (("builtin", "apothecary", None), ("judge 'apothecary'", "seed source 'builtin'")),
        (("advbench", "lexical", "apothecary-hard"), ("model 'apothecary-hard'", "'advbench'")),
        (("apothecary,builtin?only=benign", "lexical", None), ("'apothecary'", "'builtin")),
    ],
)
def test_parts_in_two_languages_are_refused_by_name_with_what_fits(parts, named):
    seeds, judge, model = parts
    with pytest.raises(RedteamError) as caught:
        check_fit(seeds, judge, model=model)
    text = str(caught.value)
    assert all(name in text for name in named)
    assert "--world apothecary without" in text
    assert "--mix-worlds" in text
    assert "\n" not in text
    check_fit(seeds, judge, model=model, mix=True)


@pytest.mark.parametrize(
    "parts",
    [
        ("apothecary", "apothecary", "apothecary-easy"),
        ("apothecary", "lexical", "smollm2"),
        ("builtin", "wildguard?url=http://127.0.0.1:1", "owner/name"),
        ("mine.csv?text=goal,builtin", "seed_labels", None),
        ("mine.csv", "apothecary", "apothecary"),
    ],
)
def test_what_says_nothing_fits_everything(parts):
    seeds, judge, model = parts
    check_fit(seeds, judge, model=model, agents=["refuse", "judge:lexical"])


def test_a_world_that_was_pretrained_here_is_known_by_its_card(tmp_path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(RedteamError, match="model"):
        check_fit("builtin", "lexical", model=str(tmp_path))


def test_a_plug_in_says_in_which_language_it_is():
    @speaks("klingon")
    def mine(role):
        raise AssertionError("nobody is made")

    with registry.isolated():
        registry.register("agents", "mine", mine)
        with pytest.raises(RedteamError, match="'mine' is in the language 'klingon'"):
            check_fit("builtin", "lexical", agents=["mine"])
        check_fit("a.csv", "lexical", agents=["mine"])


@pytest.mark.parametrize("command", ["play", "crossplay refuse", "evaluate refuse"])
def test_commands_refuse_them_unless_told_otherwise(command, capsys):
    words = [*command.split(), "--seeds", "builtin", "--judge", "apothecary", "--games", "2"]
    assert main(words) == 2
    assert "do not fit each other" in capsys.readouterr().err
    assert main([*words, "--mix-worlds"]) == 0
