"""What the specifications of standing attacks name: files, agents and servers, also in somebody else's run."""

import pytest

from algorithms.training.config import TrainConfig
from algorithms.training.plugins import plugins_of
from redteam_env.game import RedteamError
from redteam_env.trust import confirm_named, with_roots
from redteam_env.utils.places import parts_of


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("echo,template", ["echo", "template"]),
        ("attack:pair", ["attack:pair"]),
        ("attack:pair:endpoint:m.toml", ["attack:pair:endpoint:m.toml", "endpoint:m.toml"]),
        (
            "attack:tap:base?width=2&target=endpoint:m.toml",
            ["attack:tap:base?width=2&target=endpoint:m.toml", "base", "2", "endpoint:m.toml"],
        ),
        ("mixed:tap,pair:runs/a,self", ["tap", "pair:runs/a", "runs/a", "self"]),
    ],
)
def test_who_writes_and_the_target_are_parts(text, parts):
    assert parts_of(text) == parts


@pytest.mark.parametrize(
    "options",
    [
        {"opponent": "attack:pair:endpoint:{folder}/m.toml"},
        {"opponent": "attack:pair:endpoint:m@http://127.0.0.1:1"},
        {"scripted_attackers": "echo,attack:best_of_n?target=endpoint:m.toml"},
        {"opponents": "mixed:tap,pair:endpoint:m.toml,self"},
        {"opponents": "mixed:run:{folder}/run,self"},
        {"opponents": "mixed:template?file={folder}/frames.txt,self"},
        {"opponent": "attack:run:{folder}/run"},
        {"opponent": "attack:template?file={folder}/frames.txt"},
    ],
)
def test_what_a_strangers_run_names_behind_an_attack_is_not_used(tmp_path, options):
    (tmp_path / "own").mkdir()
    given = {name: text.format(folder=tmp_path) for name, text in options.items()}
    with pytest.raises(RedteamError, match="not used unless you name it yourself"):
        confirm_named(given, root=tmp_path / "own", source="The run")


@pytest.mark.parametrize("text", ["mixed:pair,self", "mixed:best_of_n?sigma=0.2,self", "psro"])
def test_what_names_no_place_is_used(tmp_path, text):
    confirm_named({"opponents": text}, root=tmp_path, source="The run")


def test_relative_places_are_those_of_where_the_run_was_started(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "frames.txt").write_text("{text}\n")
    given = {
        "opponents": "mixed:pair,run:runs/a,self",
        "opponent": "attack:template?file=frames.txt&attempts=2",
    }
    found = with_roots(given, tmp_path)
    assert found["opponents"] == f"mixed:pair,run:{tmp_path}/runs/a,self"
    assert found["opponent"] == f"attack:template?file={tmp_path}/frames.txt&attempts=2"


def test_a_run_names_its_attacks_and_who_writes_for_them():
    config = TrainConfig.from_flat({"opponents": "mixed:tap:echo?target=refuse,best_of_n,self"})
    used = plugins_of(config)
    assert {("attacks", "tap"), ("attacks", "best_of_n")} <= used
    assert {("agents", "echo"), ("agents", "refuse"), ("opponents", "self_play")} <= used
