"""A configuration made from options side by side, as files hold them, and checked by type."""

from dataclasses import dataclass

import pytest

from algorithms.reinforce_pp import ReinforcePPConfig
from algorithms.training.config import TrainConfig
from redteam_env import registry
from redteam_env.game import RedteamError

CHANGED = {
    "steps": 3,
    "seed": 7,
    "opponent": "refuse",
    "faithfulness_gate": -1.5,
    "rewards": "zero_sum",
    "arrangement": "attacker_only",
    "rank": 2,
    "alpha": None,
    "attacker_lr": 1e-3,
    "baseline": "none",
}


def test_flat_and_back_is_the_same():
    for options in ({}, CHANGED):
        made = TrainConfig.from_flat(options)
        assert TrainConfig.from_flat(made.flat()) == made


def test_each_option_goes_to_its_component_and_the_rest_keeps_its_default():
    made = TrainConfig.from_flat(CHANGED)
    assert (made.run.steps, made.run.seed, made.run.opponent) == (3, 7, "refuse")
    assert (made.game.faithfulness_gate, made.game.rewards) == (-1.5, "zero_sum")
    assert (made.policy.arrangement, made.policy.rank) == ("attacker_only", 2)
    assert isinstance(made.learner, ReinforcePPConfig)
    assert (made.learner.attacker_lr, made.learner.baseline) == (1e-3, "none")
    default = TrainConfig.from_flat({})
    same = {x: v for x, v in default.flat().items() if x not in CHANGED}
    assert {x: v for x, v in made.flat().items() if x not in CHANGED} == same


def test_a_plug_ins_own_settings_are_options_too(doubles):
    @dataclass(frozen=True)
    class Settings:
        courage: int = 1

    class Own:
        Config = Settings

    doubles("algorithms", "own", Own)
    made = TrainConfig.from_flat({"algorithm": "own", "courage": 3})
    assert made.learner == Settings(courage=3)
    with pytest.raises(RedteamError, match=r"'lr'.*courage"):
        TrainConfig.from_flat({"algorithm": "own", "lr": 1e-3})
    with pytest.raises(RedteamError, match=r"courage is 'much'; give a whole number"):
        TrainConfig.from_flat({"algorithm": "own", "courage": "much"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 3}, r"training option.*'stepz'.*steps"),
        ({"learner": {}}, "training option.*'learner'"),
        ({"algorithm": "ppo2"}, r"'ppo2'.*reinforce_pp"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": "3"}, r"steps is '3'; give a whole number"),
        ({"steps": 3.0}, r"steps is 3\.0; give a whole number"),
        ({"steps": True}, "steps is True; give a whole number"),
        ({"steps": None}, "steps is None; give a whole number"),
        ({"lr": "1e-3"}, "lr is '1e-3'; give a finite number >= 0"),
        ({"attacker_lr": []}, r"attacker_lr is \[\]; give a finite number >= 0"),
        ({"opponent": 3}, "opponent is 3; give a text"),
        ({"drop_unfaithful": 1}, "drop_unfaithful is 1; give true or false"),
        ({"arrangement": 3}, "Unknown arrangement 3.*bipolicy"),
        ({"arrangement": "both"}, r"'both'.*bipolicy"),
        ({"temperature": 0}, "temperature is 0"),
    ],
)
def test_each_wrong_option_is_named_with_what_it_should_be(options, message):
    with pytest.raises(RedteamError, match=message):
        TrainConfig.from_flat(options)


def test_whole_numbers_are_numbers_and_nothing_is_a_value_where_there_may_be_none():
    made = TrainConfig.from_flat({"lr": 1, "alpha": None, "faithfulness_gate": -2})
    assert (made.learner.lr, made.game.faithfulness_gate) == (1, -2)


def test_settings_of_an_algorithm_without_a_dataclass_are_an_error(doubles):
    doubles("algorithms", "bare", lambda *_, **__: None)
    with pytest.raises(RedteamError, match=r"'bare' cannot be set: it has no dataclass Config"):
        registry.settings("algorithms", "bare")
    assert registry.settings("algorithms", "reinforce_pp") is ReinforcePPConfig
