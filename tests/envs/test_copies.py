"""A game copied in the middle goes on to the same end as the original, wherever it is copied to."""

import copy
import itertools
import multiprocessing
import pickle
from functools import partial

import cloudpickle
import gymnasium
import numpy as np
import pytest
from matrix import GAMES, SEATS, SINGLE, VIEWS, make_single, rest, settings

import redteam_env
from redteam_env import registry
from redteam_env.embedders import HashingEmbedder
from redteam_env.envs.features import Features
from redteam_env.protocols import TurnRequest
from redteam_env.seeds import resolve_seeds
from redteam_env.wrappers import EmbeddingObservation, TacticActions

ELSEWHERE = {"endpoint", "policy", "sb3", "judge"}
"""Agents that need a server, weights or a seat of their own; they are copied in tests of their own."""
AGENTS = [x for x in registry.names("agents") if x not in ELSEWHERE]


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def by_value(thing):
    """As AsyncVectorEnv and Stable-Baselines3 send what they start elsewhere."""
    return pickle.loads(cloudpickle.dumps(thing))


COPIES = [pickled, copy.deepcopy, by_value]


def same(one, other):
    """Whether two nested values are equal, arrays included."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize(("world", "judge", "seat", "view"), SINGLE)
def test_case_c1_a_single_seat_copied_in_a_game_goes_on_alike(world, judge, seat, view):
    env = make_single(world, judge, seat, view, exchanges=2)
    env.reset(seed=3)
    env.step(1 if hasattr(env.action_space, "n") else "first")
    copies = [pickled(env), copy.deepcopy(env)]
    wanted = rest(env)
    for other in copies:
        assert same(rest(other), wanted)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seat", SEATS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_single_seat_can_be_copied_outside_of_a_game_too(seat, view, when):
    env = make_single("apothecary", "apothecary", seat, view)
    if when == "after":
        env.reset(seed=3)
        rest(env)
    copies = [duplicate(env) for duplicate in COPIES]
    env.reset(seed=4)
    wanted = rest(env)
    for other in copies:
        other.reset(seed=4)
        assert same(rest(other), wanted)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("seat", SEATS)
def test_every_agent_can_be_copied_with_the_game_it_plays_in(name, seat, monkeypatch):
    typed = itertools.cycle(["what a person types", "."])
    monkeypatch.setattr("builtins.input", lambda *_: next(typed))
    env = redteam_env.single_seat(seat, name, world="apothecary", exchanges=2)
    env.reset(seed=3)
    env.step("first")
    copies = [duplicate(env) for duplicate in COPIES]
    wanted = rest(env)
    for other in copies:
        assert same(rest(other), wanted)


@pytest.mark.parametrize("kind", ["judges", "seeds", "embedders", "suites", "worlds"])
def test_every_plug_in_that_needs_nothing_can_be_copied(kind):
    needs = {
        "recorded": {"verdicts": {}},
        "wildguard": {"url": "http://127.0.0.1:9/v1"},
    }
    options = {"suites": {"source": resolve_seeds("apothecary"), "games": 4, "seed": 0}}
    copied = []
    for name in registry.names(kind):
        try:
            made = registry.build(kind, name, **{**options.get(kind, {}), **needs.get(name, {})})
        except redteam_env.RedteamError:
            continue  # it needs a file, a download or a package
        for duplicate in COPIES:
            assert type(duplicate(made)) is type(made)
        copied.append(name)
    assert copied


def test_a_copy_of_features_sees_alike_and_shares_nothing():
    features = Features(HashingEmbedder(), ["asked"])
    request = TurnRequest(
        seat="defender_0", role="defender", messages=[{"role": "user", "content": "x"}], path=(1,)
    )
    for duplicate in COPIES:
        other = duplicate(features)
        assert np.array_equal(other.of(request), features.of(request))
        assert (other.size, other.views) == (features.size, features.views)


def in_new_process(work, *arguments):
    """Return what work gives in a fresh interpreter, as on macOS and Windows, or with CUDA."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def play_all(envs):
    return [rest(env) for env in envs]


def test_games_in_the_middle_go_on_alike_in_a_spawned_process():
    envs = [make_single(*x, exchanges=2) for x in SINGLE if x[1] in {"lexical", "apothecary"}]
    for env in envs:
        env.reset(seed=5)
    there = in_new_process(play_all, envs)
    assert same(there, play_all(envs))


def finish(env, parallel):
    """Play a PettingZoo game to its end; returns its record."""
    while env.agents:
        if parallel:
            env.step(dict.fromkeys(env.agents, "how do i make it"))
        else:
            over = env.terminations[env.agent_selection]
            env.step(None if over else "how do i make it")
    return env.unwrapped.episode


def finish_all(envs):
    return [finish(env, parallel) for env, parallel in envs]


def test_pettingzoos_faces_go_on_alike_in_a_spawned_process():
    envs = []
    for world, judge in GAMES:
        for make, parallel in ((redteam_env.env, False), (redteam_env.parallel_env, True)):
            env = make(**settings(world, judge), exchanges=2)
            env.reset(seed=5)
            envs.append((env, parallel))
    there = in_new_process(finish_all, envs)
    assert there == finish_all(envs)


def wrapped(seat, **game):
    return EmbeddingObservation(TacticActions(redteam_env.single_seat(seat, **game)), "hashing")


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("name", ["redteam/Attacker-v0", "redteam/Defender-v0"])
def test_case_c5_games_side_by_side_in_processes_are_those_of_one_process(name, context):
    how = {"num_envs": 2, "exchanges": 2}
    envs = gymnasium.make_vec(
        name, vectorization_mode="async", vector_kwargs={"context": context}, **how
    )
    try:
        alone = gymnasium.make_vec(name, vectorization_mode="sync", **how)
        seen, wanted = envs.reset(seed=3), alone.reset(seed=3)
        for k in range(4):
            assert same(seen[0], wanted[0])
            assert envs.observation_space.contains(seen[0])
            said = (f"do {k} \ud800\n", f"go {k} \N{SNOWMAN} \U0001f600")
            seen, wanted = envs.step(said), alone.step(said)
            assert same(seen[1:], wanted[1:])  # the records in the infos of the last turn, too
    finally:
        envs.close()


@pytest.mark.parametrize("options", [{"observation_mode": "different"}, {"shared_memory": False}])
def test_other_ways_of_going_side_by_side(options):
    envs = gymnasium.make_vec(
        "redteam/Defender-v0", num_envs=2, vectorization_mode="async", vector_kwargs=options
    )
    try:
        seen, _ = envs.reset(seed=3)
        alone = [gymnasium.make("redteam/Defender-v0").reset(seed=k)[0] for k in (3, 4)]
        assert list(seen["dialogue"]) == [x["dialogue"] for x in alone]
    finally:
        envs.close()


def test_case_c1_learners_side_by_side_in_processes_see_what_one_process_sees():
    make = [partial(wrapped, seat, world="apothecary") for seat in ("attacker_0", "attacker_0")]
    envs, alone = (
        gymnasium.vector.AsyncVectorEnv(make, context="spawn"),
        gymnasium.vector.SyncVectorEnv(make),
    )
    try:
        assert np.array_equal(envs.reset(seed=3)[0], alone.reset(seed=3)[0])
        for moves in ([0, 1], [2, 3], [4, 5]):
            seen, wanted = envs.step(moves), alone.step(moves)
            assert same(seen[:4], wanted[:4])
    finally:
        envs.close()


@pytest.mark.parametrize("seat", SEATS)
def test_case_c5_texts_can_be_flattened(seat):
    env = redteam_env.single_seat(seat, world="apothecary")
    flat = gymnasium.wrappers.FlattenObservation(env)
    seen, _ = flat.reset(seed=3)
    assert flat.observation_space.contains(seen)
    again = gymnasium.spaces.unflatten(env.observation_space, seen)
    assert again == env.reset(seed=3)[0]
