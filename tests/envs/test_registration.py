import importlib
import warnings

import gymnasium
import pettingzoo
import pytest

import redteam_env
from redteam_env.registration import register_gymnasium, register_pettingzoo


def test_pettingzoo_makes_both_faces(tiny):
    aec = pettingzoo.make("aec", "redteam/redteam-v0", **tiny, exchanges=2)
    parallel = pettingzoo.make("parallel", "redteam/redteam-v0", **tiny, exchanges=2)
    assert isinstance(aec, pettingzoo.AECEnv)
    assert isinstance(parallel, pettingzoo.ParallelEnv)
    assert aec.unwrapped.session.game.exchanges == parallel.session.game.exchanges == 2
    assert str(aec) == str(parallel) == "redteam_v0"


@pytest.mark.parametrize(
    ("name", "seat"),
    [("redteam/Attacker-v0", "attacker_0"), ("redteam/Defender-v0", "defender_0")],
)
def test_gymnasium_makes_the_single_seat_views(tiny, name, seat):
    env = gymnasium.make(name, **tiny, render_mode="ansi")
    assert env.unwrapped.seat == seat
    env.reset(seed=0)
    assert "seed (" in env.render()


def test_registering_again_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_gymnasium()
        register_pettingzoo()
        importlib.reload(redteam_env)


def test_the_metadata_names_version_and_render_modes(tiny):
    for env in (redteam_env.env(**tiny), redteam_env.parallel_env(**tiny)):
        assert env.metadata["name"] == "redteam_v0"
        assert env.metadata["render_modes"] == ["ansi", "human"]
        assert env.metadata["is_parallelizable"] is False
