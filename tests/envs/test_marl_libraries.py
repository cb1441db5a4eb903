"""Multi-agent learners of others take the game in numbers as it is."""

import numpy as np
import pytest

from redteam_env import numeric_v0

WORLD = {"world": "apothecary", "embedder": "hashing", "rewrite_fraction": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("face", "defender"),
    [(numeric_v0.parallel_env, "defender"), (numeric_v0.env, "defender_0")],
    ids=["parallel", "aec"],
)
def test_torchrl_checks_and_rolls_it_out(face, defender):
    envs = pytest.importorskip("torchrl.envs")
    env = envs.PettingZooWrapper(face(**WORLD), use_mask=True)
    envs.utils.check_env_specs(env)
    rollout = env.rollout(20, break_when_any_done=False)
    assert rollout.batch_size == (20,)
    paid = rollout["next", defender, "reward"]
    assert paid.count_nonzero() > 0


def test_supersuit_vectorises_it():
    supersuit = pytest.importorskip("supersuit")
    padded = supersuit.pad_action_space_v0(
        supersuit.pad_observations_v0(numeric_v0.parallel_env(**WORLD))
    )
    vector = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(padded), 2, num_cpus=0, base_class="gymnasium"
    )
    seen, _ = vector.reset(seed=0)
    assert seen.shape == (4, vector.observation_space.shape[0])
    rng = np.random.default_rng(0)
    paid = [vector.step(rng.integers(vector.action_space.n, size=4))[1] for _ in range(20)]
    # every second step ends two games of two seats each
    assert all(not any(rewards) for rewards in paid[::2])
    assert any(any(rewards) for rewards in paid[1::2])


@pytest.mark.slow
def test_rllib_takes_it():
    wrappers = pytest.importorskip("ray.rllib.env.wrappers.pettingzoo_env", exc_type=ImportError)
    checks = pytest.importorskip("ray.rllib.utils.pre_checks.env", exc_type=ImportError)
    env = wrappers.ParallelPettingZooEnv(numeric_v0.parallel_env(**WORLD))
    env.reset(seed=0)
    checks.check_multiagent_environments(env)
