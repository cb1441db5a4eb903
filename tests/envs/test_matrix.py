"""PettingZoo's, Gymnasium's and our own checks over every game that is offline and fast."""

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from matrix import COMBINED, GAMES, JUDGES, SERVED, SINGLE, WORLDS, make_single, settings

import redteam_env
from redteam_env import registry
from redteam_env.testing import check_game


def test_the_matrix_has_every_judge():
    ours = {x.name for x in registry.found() if x.distribution.startswith("redteam-env ")}
    assert {*JUDGES, *COMBINED, *SERVED} == ours & set(registry.names("judges"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("world", "judge"), GAMES)
def test_case_c1_every_world_and_judge_passes_pettingzoos_checks_and_ours(world, judge):
    report = check_game(
        lambda: redteam_env.env(**settings(world, judge)),
        parallel_factory=lambda: redteam_env.parallel_env(**settings(world, judge)),
        cycles=5,
    )
    assert {"api_test", "parallel_api_test", "running games can be copied"} <= set(report.passed)


@pytest.mark.filterwarnings("error", "ignore:.*different from the unwrapped version:UserWarning")
@pytest.mark.parametrize(("world", "judge", "seat", "view"), SINGLE)
def test_every_single_seat_passes_gymnasiums_checks(world, judge, seat, view):
    # its checks of rendering want a registered environment and are those of test_single_seat.py
    check_env(make_single(world, judge, seat, view), skip_render_check=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["redteam/Attacker-v0", "redteam/Defender-v0"])
@pytest.mark.parametrize("world", WORLDS)
def test_every_registered_seat_passes_gymnasiums_checks(name, world, capsys):
    check_env(gymnasium.make(name, **settings(world, "apothecary")).unwrapped)
