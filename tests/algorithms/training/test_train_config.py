"""The configuration of a run is checked when it is made."""

import dataclasses
import json

import pytest

from agents.lora.config import PolicyConfig
from algorithms.reinforce_pp import ReinforcePPConfig
from algorithms.training.config import FREE, RunConfig, TrainConfig
from algorithms.training.rundir import changed, completed
from redteam_env import GameConfig
from redteam_env.game import RedteamError


def make(**parts) -> TrainConfig:
    whole = {
        "run": RunConfig(),
        "game": GameConfig(),
        "policy": PolicyConfig(),
        "learner": ReinforcePPConfig(),
    }
    return TrainConfig(**{**whole, **parts})


def test_instructions_that_cannot_be_read_are_found_before_anything_is_made():
    with pytest.raises(RedteamError, match=r"/no/where.*attacker_harmful\.txt"):
        make(game=GameConfig(prompts="/no/where"))


def test_greedy_play_cannot_be_trained():
    with pytest.raises(RedteamError, match=r"temperature is 0.*above 0"):
        make(policy=PolicyConfig(temperature=0.0))


def test_an_attacker_that_never_plays_cannot_be_trained_alone():
    with pytest.raises(RedteamError, match=r"attacker_only.*rewrite_fraction"):
        make(
            policy=PolicyConfig(arrangement="attacker_only"), game=GameConfig(rewrite_fraction=0.0)
        )
    make(policy=PolicyConfig(arrangement="defender_only"), game=GameConfig(rewrite_fraction=0.0))


def test_all_options_stand_side_by_side_and_survive_json():
    flat = make().flat()
    for name in ("arrangement", "algorithm", "model", "seeds", "judge", "judge_url", "rewards"):
        assert name in flat
    for name in ("steps", "games", "max_new_tokens", "rank", "seed", "checkpoint_every", "out"):
        assert name in flat
    assert json.loads(json.dumps(flat)) == flat


def test_an_algorithm_whose_settings_clash_with_others_is_refused_by_name():
    @dataclasses.dataclass(frozen=True)
    class Clashing:
        rank: int = 1
        games: int = 2

    with pytest.raises(RedteamError, match=r"Clashing.*'games', 'rank'"):
        make(learner=Clashing())


def test_only_what_must_stay_counts_as_a_change():
    stored = make().flat()
    given = {**stored, "kl": 0.5, "steps": 9, "out": "x", "resume": True, "json": True}
    assert changed(stored, given) == {"kl": (0.01, 0.5)}
    assert changed(stored, {**stored, "new_option": 3}) == {"new_option": (None, 3)}
    assert set(FREE) <= set(stored)


def test_a_run_of_an_older_version_has_the_defaults_of_options_that_came_later():
    config = make()
    stored = config.flat()
    for name in ("group_size", "importance_cap"):
        del stored[name]
    assert changed(completed(stored, config), config.flat()) == {}
    grouped = make(run=RunConfig(group_size=2))
    assert changed(completed(stored, grouped), grouped.flat()) == {"group_size": (1, 2)}


def test_the_settings_of_self_redteam_are_the_defaults_where_it_has_them():
    learner = ReinforcePPConfig()
    assert (learner.kl, learner.clip, learner.reward_clip, learner.epochs) == (0.01, 0.2, 10.0, 1)
    assert (learner.minibatch, learner.max_grad_norm, learner.sft_coefficient) == (32, 1.0, 1.0)
    assert learner.baseline == "role"
    game = GameConfig()
    assert (game.rewards, game.benign_fraction, game.rewrite_fraction) == ("self_redteam", 0.5, 0.5)
    assert learner.of_role("lr", "attacker") == learner.lr
    assert ReinforcePPConfig(attacker_lr=0.0).of_role("lr", "attacker") == 0.0
    assert ReinforcePPConfig(defender_kl=0.3).of_role("kl", "defender") == 0.3
