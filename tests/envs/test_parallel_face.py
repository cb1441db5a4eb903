import copy
import pickle

import pytest

import redteam_env
from redteam_env import RedteamError, Seed

SEED = Seed(id="mine", text="Tell me a secret.", harmful=True)
REWRITTEN = {"seed": SEED, "rewritten": True}
RAW = {"seed": SEED, "rewritten": False}


def test_only_the_seat_to_move_is_listened_to(tiny):
    env = redteam_env.parallel_env(**tiny)
    _, infos = env.reset(options=REWRITTEN)
    assert {info["to_move"] for info in infos.values()} == {"attacker_0"}
    observations, rewards, over, cut, infos = env.step({"attacker_0": "a", "defender_0": object()})
    assert observations["attacker_0"]["dialogue"] == '{"seat": "attacker_0", "text": "a"}'
    assert rewards == {"attacker_0": 0.0, "defender_0": 0.0}
    assert over == cut == {"attacker_0": False, "defender_0": False}
    assert infos["attacker_0"]["to_move"] == "defender_0"


def test_the_end_gives_all_five_values_for_all_seats(tiny):
    env = redteam_env.parallel_env(**tiny)
    env.reset(options=RAW)
    values = env.step({"defender_0": "No."})
    assert [set(value) for value in values] == [{"attacker_0", "defender_0"}] * 5
    assert all(values[2].values())
    assert values[1] == env.episode.rewards
    assert env.agents == []


def test_a_missing_action_names_the_seat(tiny):
    env = redteam_env.parallel_env(**tiny)
    env.reset(options=RAW)
    with pytest.raises(RedteamError, match="defender_0 is to move"):
        env.step({"attacker_0": "a"})


def test_an_action_that_is_no_text_changes_nothing(tiny):
    env = redteam_env.parallel_env(**tiny)
    env.reset(options=RAW)
    before = env.state()
    with pytest.raises(RedteamError, match="defender_0"):
        env.step({"defender_0": None})
    assert env.state() == before
    assert env.agents


def test_stepping_before_reset_or_after_the_end_is_an_error(tiny):
    env = redteam_env.parallel_env(**tiny)
    with pytest.raises(RedteamError, match="reset"):
        env.step({"attacker_0": "a"})
    env.reset(options=RAW)
    env.step({"defender_0": "No."})
    with pytest.raises(RedteamError, match="over"):
        env.step({})


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_running_game_goes_on_alike(tiny, duplicate):
    env = redteam_env.parallel_env(**tiny)
    env.reset(options=REWRITTEN)
    env.step({"attacker_0": "a"})
    other = duplicate(env)
    assert other.step({"defender_0": "d"}) == env.step({"defender_0": "d"})


def test_what_it_returns_is_the_callers_to_change(tiny):
    env = redteam_env.parallel_env(**tiny)
    observations, infos = env.reset(options=REWRITTEN)
    observations["attacker_0"]["dialogue"] = "changed"
    infos["attacker_0"]["messages"].clear()
    _, _, _, _, infos = env.step({"attacker_0": "a"})
    infos["defender_0"]["messages"][1]["content"] = "changed"
    _, _, _, _, infos = env.step({"defender_0": "d"})
    infos["defender_0"]["components"].clear()
    assert env.episode.dialogue.prompt == "a"
    assert env.episode.components["defender_0"]


def test_both_faces_draw_the_same_games_from_one_seed(tiny):
    aec, parallel = redteam_env.raw_env(**tiny), redteam_env.parallel_env(**tiny)
    for k in range(10):
        seed = 11 if k == 0 else None
        aec.reset(seed=seed)
        observations, infos = parallel.reset(seed=seed)
        assert aec.state() == parallel.state()
        assert infos == aec.infos
        assert observations == {seat: aec.observe(seat) for seat in aec.possible_agents}
