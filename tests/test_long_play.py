"""Long play leaves memory and handles as they were, and a judge that fails costs no game."""

import psutil
import pytest

from redteam_env import RedteamError, parallel_env
from redteam_env.game import role_of
from redteam_env.judges.recorded import always
from redteam_env.registry import load
from redteam_env.rollout import play, schedule
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.testing import faults

CHUNK = 1_000
KEPT = 10_000_000
"""Bytes that an allocator may keep; a leak of 200 bytes a game would be twice as many."""
SOURCE = resolve_seeds("builtin")
AGENTS = {
    seat: load("agents", "refuse")(role=role_of(seat)) for seat in ("attacker_0", "defender_0")
}


def setups(k):
    return schedule(SOURCE, CHUNK, path=(0, "step", k))


def held():
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def check_flat(task, times):
    """Do a task again and again; after a first tenth it must hold no more than before."""
    for k in range(times // 10):
        task(k)
    memory, handles, threads = held()
    for k in range(times // 10, times):
        task(k)
    after, *same = held()
    assert same == [handles, threads]
    assert after - memory < KEPT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_games_leave_memory_and_handles_as_they_were():
    check_flat(lambda k: play(setups(k), AGENTS, always()), 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_games_of_an_environment_leave_memory_and_handles_as_they_were():
    env = parallel_env(rewrite_fraction=1.0)

    def ten(k):
        for seed in range(10 * k, 10 * k + 10):
            _, infos = env.reset(seed=seed)
            while env.agents:
                infos = env.step({infos[env.agents[0]]["to_move"]: "a text"})[-1]

    check_flat(ten, 1_000)
    env.close()


@pytest.mark.parametrize("how", faults.JUDGE_FAULTS)
def test_a_thousand_games_through_a_judge_that_fails_are_all_played_and_paid_or_void(how):
    sound = play(setups(0), AGENTS, always())
    judge = faults.FaultyJudge(always(), faults.When(rate=0.3, seed=1), how)
    episodes, told = [], []
    while len(episodes) < CHUNK:
        try:
            episodes += play(setups(0)[len(episodes) : len(episodes) + 50], AGENTS, judge)
        except RedteamError as error:
            told.append(str(error))
    assert all("'always'" in text and "\n" not in text for text in told)
    assert judge.when.failed > 0
    spoilt = [k for k in range(CHUNK) if episodes[k] != sound[k]]
    assert all(episodes[k].void is not None for k in spoilt)
    assert all(episodes[k].turns == sound[k].turns for k in range(CHUNK))
