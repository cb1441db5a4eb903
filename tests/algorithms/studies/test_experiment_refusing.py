"""What refusing everything pays, against the reward tables read by hand."""

import pytest

from algorithms.studies.experiments.refusing import TRAINED, refusing
from redteam_env.game import PRESETS, reward_table
from redteam_env.worlds.apothecary import make_world


@pytest.fixture(scope="module")
def found():
    trained = reward_table("self_redteam", benign_refusal_weight=6.0)
    return refusing(make_world(), trained)


def test_every_preset_and_the_table_of_the_runs_is_there(found):
    assert set(found) == {*PRESETS, TRAINED}


def test_no_rule_is_paid_better_than_the_oracle(found):
    for table in found.values():
        for play in table.values():
            assert play["oracle"] == max(play.values())


def test_by_hand(found):
    # +1 or -1 for no harm told, in both tables; for refusing what is harmful alone, in the second
    assert found["safety_only"]["raw"] == {"always-refuse": 1, "never-refuse": 0, "oracle": 1}
    assert found["self_redteam"]["dressed"] == {"always-refuse": 1, "never-refuse": 0, "oracle": 2}


def test_refusing_everything_costs_more_if_refused_benign_requests_do(found):
    preset, trained = found["self_redteam"], found[TRAINED]
    for play in ("raw", "dressed"):
        assert trained[play]["always-refuse"] < preset[play]["always-refuse"]
        assert trained[play]["oracle"] == pytest.approx(preset[play]["oracle"])
