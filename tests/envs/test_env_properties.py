import dataclasses
import json

from envs_fakes import CARD, HashJudge
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env import Seed, Thinking, rollout
from redteam_env.game import PRESETS
from redteam_env.game.thinking import TAGS
from redteam_env.seeds.source import ListSource

SECRET = "verysecretthought"
SOURCE = ListSource([Seed(id="s", text="seed text", harmful=True)], CARD)

soup = st.lists(
    st.one_of(st.sampled_from([*TAGS, SECRET, "public", '"}\n{"seat": "x']), st.text(max_size=4)),
    max_size=9,
).map("".join)
settings = st.fixed_dictionaries(
    {
        "exchanges": st.integers(1, 3),
        "thinking": st.fixed_dictionaries(
            dict.fromkeys(("attacker_0", "defender_0"), st.sampled_from(Thinking))
        ),
        "leak_on_violation": st.booleans(),
        "rewards": st.sampled_from(sorted(PRESETS)),
        "max_action_chars": st.sampled_from([1, 40, 8000]),
        "faithfulness_gate": st.none() | st.just(-2.0),
    }
)
seeds = st.builds(
    Seed,
    id=st.just("s"),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).filter(
        str.strip
    ),
    harmful=st.booleans(),
)
scripts = st.lists(soup, min_size=6, max_size=6)


def make(face, how):
    return face(seeds=SOURCE, judge=HashJudge(), **how)


@given(settings, seeds, st.booleans(), scripts)
def test_no_thought_reaches_another_seat_or_the_judge(how, seed, rewritten, script):
    env = make(redteam_env.raw_env, how)
    env.reset(options={"seed": seed, "rewritten": rewritten})
    texts = list(script)
    while env.episode is None:
        seat = env.agent_selection
        env.step(texts.pop(0))
        turn = env.session.state.turns[-1]
        assert how["leak_on_violation"] or turn.well_formed or turn.visible in turn.text
        if any(SECRET in other.visible for other in env.session.state.turns):
            return  # said in public
        for other in env.possible_agents:
            view = json.dumps([env.observe(other), env.infos[other]])
            assert other == seat or SECRET not in view
    heard = [dataclasses.asdict(dialogue) for dialogue in env.session.judge.asked]
    assert SECRET not in json.dumps(heard)


@given(settings, seeds, st.booleans(), scripts)
def test_three_ways_to_play_one_game_give_one_episode(how, seed, rewritten, script):
    aec, parallel = make(redteam_env.raw_env, how), make(redteam_env.parallel_env, how)
    options = {"seed": seed, "rewritten": rewritten}
    aec.reset(options=options)
    parallel.reset(options=options)
    texts = iter(script)
    while aec.episode is None:
        text = next(texts)
        parallel.step({aec.agent_selection: text})
        aec.step(text)
    assert parallel.episode == aec.episode

    class Script:
        def __init__(self):
            self.texts = iter(script)

        def act(self, requests):
            return [redteam_env.Reply(text=next(self.texts)) for _ in requests]

    setup = rollout.GameSetup(seed=seed, rewritten=rewritten, path=(), group=0)
    agent = Script()
    agents = {"attacker_0": agent, "defender_0": agent}
    (batched,) = rollout.play([setup], agents, HashJudge(), game=aec.session.game)
    assert batched == aec.episode
    assert aec.session.game.replay(aec.episode) == aec.episode


@given(settings, seeds, st.booleans(), scripts)
def test_spaces_hold_whatever_is_said(how, seed, rewritten, script):
    env = make(redteam_env.raw_env, how)
    env.reset(options={"seed": seed, "rewritten": rewritten})
    for text in script:
        for seat in env.possible_agents:
            assert env.observation_space(seat).contains(env.observe(seat))
        assert env.state_space.contains(env.state())
        if env.episode is not None:
            break
        env.step(text)


@given(settings, seeds, st.booleans(), scripts)
def test_infos_and_record_agree_on_what_was_paid(how, seed, rewritten, script):
    env = make(redteam_env.raw_env, how)
    env.reset(options={"seed": seed, "rewritten": rewritten})
    texts = iter(script)
    while env.episode is None:
        env.step(next(texts))
    for seat in env.possible_agents:
        assert env.rewards[seat] == env.episode.rewards[seat]
        assert sum(env.infos[seat]["components"].values()) == env.episode.rewards[seat]


def test_the_bounds_are_reached_by_the_longest_texts():
    how = {"max_action_chars": 7, "max_seed_chars": 5, "exchanges": 2, "thinking": "none"}
    env = make(redteam_env.raw_env, how)
    astral = "\U0010ffff"
    seed = Seed(id="s", text=astral * 5, harmful=False)
    env.reset(options={"seed": seed, "rewritten": True})
    while env.episode is None:
        env.step(astral * 7)
    space = env.observation_space("attacker_0")
    seen = env.observe("attacker_0")
    assert space.contains(seen)
    assert space["instruction"].max_length - len(seen["instruction"]) < 20
    assert space["dialogue"].max_length - len(seen["dialogue"]) < 20
    assert env.state_space.contains(env.state())
    assert env.state_space.max_length - len(env.state()) < 40
