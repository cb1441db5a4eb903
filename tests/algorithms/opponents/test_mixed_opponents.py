"""Standing attacks in a run: mixed with self-play, and as the attacker that a defender alone learns against."""

import json

import pytest
from test_league_runs import FIVE_STEPS, FOLDERS, episodes, options  # noqa: F401 - fixtures
from training_fakes import contents, metrics

from algorithms.training.config import TrainConfig
from algorithms.training.scripted import ScriptedConfig
from algorithms.training.trainer import train
from redteam_env.game import RedteamError

MIXED = "mixed:best_of_n?sigma=0.2&attempts=2,template?attempts=3,self"
ATTACKS = ["attack:best_of_n?sigma=0.2&attempts=2", "attack:template?attempts=3"]


def test_attacks_take_their_share_of_the_games_from_which_the_defender_learns(options, tmp_path):  # noqa: F811
    more = {"steps": 2, "rewrite_fraction": 1.0}
    run = train(options(MIXED, **more)).directory
    rows = metrics(run)
    played = sum(row["league/scripted_attacker_games"] for row in rows)
    assert 0 < played < 16
    # each private attempt asks the defender and the judge once, the writer never
    assert sum(row["attack/target_queries"] for row in rows) >= played
    assert sum(row["attack/tokens"] for row in rows) > 0
    assert {row["attack/attacker_queries"] for row in rows} == {0}
    attacked = [x for x in episodes(run) if x.turns[0].generation is None]
    assert len(attacked) == played
    assert sum(row["attacker/samples"] for row in rows) == 16 - played
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["opponents"] == MIXED
    assert config["scripted_attackers"] == ",".join(ATTACKS)
    assert config["scripted_share"] == pytest.approx(2 / 3)


def test_a_mixed_run_resumes_as_one_that_was_not_cut(options, tmp_path):  # noqa: F811
    more = {"rewrite_fraction": 1.0, "checkpoint_every": 1}
    whole = train(options(MIXED, "whole", steps=2, **more)).directory
    train(options(MIXED, "cut", steps=1, **more))
    train(options(MIXED, "cut", steps=2, resume=True, **more))
    assert metrics(tmp_path / "cut") == metrics(whole)
    assert contents(tmp_path / "cut", *FOLDERS) == contents(whole, *FOLDERS)


def test_a_defender_alone_learns_against_a_standing_attack(options):  # noqa: F811
    more = {"arrangement": "defender_only", "opponent": "attack:template?attempts=2"}
    run = train(options("self_play", steps=1, rewrite_fraction=1.0, **more)).directory
    (row,) = metrics(run)
    assert row["defender/samples"] > 0
    assert all(x.turns[0].generation is None for x in episodes(run))


def test_its_settings_are_those_it_stands_for():
    config = TrainConfig.from_flat({"opponents": "mixed:pair,self"})
    assert config.scripted == ScriptedConfig(scripted_share=0.5, scripted_attackers="attack:pair")
    assert TrainConfig.from_flat(config.flat()) == config
    alone = TrainConfig.from_flat({"opponents": "mixed:pair"})
    assert alone.scripted.scripted_share == 1.0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"opponents": "mixed:self"}, "name standing attacks"),
        ({"opponents": "mixed:nothing,self"}, "nothing"),
        (
            {"opponents": "mixed:pair,self", "scripted_share": 0.2, "scripted_attackers": "echo"},
            "leave scripted_share",
        ),
        ({"opponents": "mixed:pair,self", "arrangement": "attacker_only"}, "trains nobody"),
    ],
)
def test_what_cannot_be_is_refused(given, reason):
    with pytest.raises(RedteamError, match=reason):
        TrainConfig.from_flat(given)


def test_an_attack_longer_than_the_game_is_refused_at_the_start(options, tmp_path):  # noqa: F811
    with pytest.raises(RedteamError, match="needs 5 exchanges"):
        train(options("mixed:crescendo:echo,self"))
    assert not (tmp_path / "run" / "config.json").exists()


def test_any_league_may_hold_a_standing_attack(options):  # noqa: F811
    more = {"scripted_share": 0.5, "scripted_attackers": ATTACKS[0], "snapshot_every": 1}
    run = train(options("fictitious", steps=3, rewrite_fraction=1.0, **more)).directory
    assert sum(row["league/scripted_attacker_games"] for row in metrics(run)) > 0
