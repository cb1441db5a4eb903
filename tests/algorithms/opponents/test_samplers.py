"""Whom each sampler lets play, who learns, and that it goes on from its state as if never stopped."""

import json

import numpy as np
import pytest
from league_fakes import BOTH, SHARED, FakeLeague

from algorithms.opponents.alternating import Alternating, AlternatingConfig
from algorithms.opponents.fictitious import Fictitious, FictitiousConfig
from algorithms.opponents.population import Population, PopulationConfig
from algorithms.opponents.prioritised import Prioritised, PrioritisedConfig, priority, win_rate
from algorithms.opponents.psro import PSRO, PSROConfig
from algorithms.opponents.self_play import SelfPlay, SelfPlayConfig
from redteam_env.game import RedteamError
from redteam_env.protocols import Match, OpponentSampler, Result

GROUPS = [True, False, True, True, False, True]
SAMPLERS = {
    "self_play": (SelfPlay, SelfPlayConfig()),
    "alternating": (Alternating, AlternatingConfig(block=2)),
    "fictitious": (Fictitious, FictitiousConfig(snapshot_every=2, history=3)),
    "prioritised": (Prioritised, PrioritisedConfig(snapshot_every=2, history=3)),
    "psro": (PSRO, PSROConfig(round_steps=2, payoff_games=2, history=3, meta_solver="uniform")),
    "psro from the start": (
        PSRO,
        PSROConfig(
            round_steps=3, payoff_games=2, history=3, response_from="first", meta_solver="uniform"
        ),
    ),
    "population": (Population, PopulationConfig(members=3, member_steps=2, rating_games=2)),
}


def pays(attacker, defender):
    """Later versions are better, and a little depends on the pair."""
    a, d = int(attacker.partition("@")[2] or 99), int(defender.partition("@")[2] or 99)
    return a - d + 0.25 * np.sin(a * d), d - a


def make(name, league):
    factory, config = SAMPLERS[name]
    return factory(config, league=league, seed=3)


def step(sampler, league, number, groups=GROUPS):
    matches = sampler.matches(number, groups)
    played = {name for match in matches for name in match.players.values()}
    assert played <= {*league.weights.values(), *league.frozen}
    league.learn()
    results = []
    for match, rewritten in zip(matches, groups, strict=True):
        if rewritten:
            a, d = pays(match.players["attacker"], match.players["defender"])
            results.append(Result(players=match.players, payoffs={"attacker": a, "defender": d}))
    row = sampler.finish(number, results)
    assert all(isinstance(x, int | float) and np.isfinite(x) for x in row.values())
    return matches


def league(weights):
    return FakeLeague(weights=dict(weights), pays=pays)


@pytest.mark.parametrize("weights", [BOTH, SHARED], ids=["bipolicy", "shared"])
@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    def test_only_current_weights_learn(self, name, weights):
        own = league(weights)
        sampler = make(name, own)
        assert isinstance(sampler, OpponentSampler)
        for number in range(9):
            for match in step(sampler, own, number):
                assert set(match.players) == set(BOTH)
                for role, player in match.players.items():
                    assert role not in match.learners or player == weights[role]

    def test_it_goes_on_from_its_state_as_if_it_had_not_stopped(self, name, weights):
        whole, cut = league(weights), league(weights)
        one, two = make(name, whole), make(name, cut)
        for number in range(5):
            assert step(one, whole, number) == step(two, cut, number)
        state = json.loads(json.dumps(two.state()))
        two = make(name, cut)
        two.load_state(state)
        for number in range(5, 11):
            assert step(one, whole, number) == step(two, cut, number)
        assert whole == cut

    def test_what_it_no_longer_needs_is_dropped(self, name, weights):
        own = league(weights)
        sampler = make(name, own)
        for number in range(18):
            step(sampler, own, number)
        assert len(own.frozen) <= 2 * 4


def test_self_play_lets_everybody_learn_with_the_current_weights():
    matches = step(make("self_play", league(BOTH)), league(BOTH), 0)
    assert matches == [Match(players=BOTH, learners=("attacker", "defender"))] * len(GROUPS)


def test_alternating_lets_one_role_learn_for_a_block_of_steps():
    own = league(BOTH)
    sampler = make("alternating", own)
    learners = [{x.learners for x in step(sampler, own, k)} for k in range(6)]
    assert learners == [{("attacker",)}] * 2 + [{("defender",)}] * 2 + [{("attacker",)}] * 2
    assert own.frozen == []


def test_alternating_shared_weights_meet_those_of_the_start_of_the_block():
    own = league(SHARED)
    sampler = make("alternating", own)
    seen = [{x.players["defender"] for x in step(sampler, own, k)} for k in range(2)]
    assert seen == [{"shared@0"}] * 2
    third = step(sampler, own, 2)
    assert {x.players["attacker"] for x, r in zip(third, GROUPS, strict=True) if r} == {"shared@2"}
    assert {x.learners for x in third} == {("defender",)}


@pytest.mark.parametrize("name", ["fictitious", "prioritised", "psro"])
def test_both_roles_learn_from_rewritten_games_in_turn_and_the_defender_from_raw_ones(name):
    own = league(BOTH)
    matches = step(make(name, own), own, 0)
    found = [x.learners for x in matches]
    assert [x for x, rewritten in zip(found, GROUPS, strict=True) if rewritten] == [
        ("attacker",),
        ("defender",),
    ] * 2
    raw = [x for x, rewritten in zip(matches, GROUPS, strict=True) if not rewritten]
    assert all(x == Match(players=BOTH, learners=("defender",)) for x in raw)


def test_fictitious_opponents_are_uniform_over_the_whole_history():
    counts: dict[str, int] = {}
    for seed in range(150):
        own = league(BOTH)
        config = FictitiousConfig(snapshot_every=1, history=4)
        sampler = Fictitious(config, league=own, seed=seed)
        for number in range(12):
            step(sampler, own, number, [True])
        for version in sampler.state()["versions"]["defender"]:
            counts[version] = counts.get(version, 0) + 1
    assert len(counts) == 12
    assert max(counts.values()) < 80
    assert min(counts.values()) > 25  # 150 histories of 4 out of 12: 50 of each on average


def test_priorities_are_those_of_the_paper():
    half = {"wins": 1, "games": 2}
    assert win_rate(**half) == 0.5
    assert win_rate(0, 0) == 0.5
    assert priority(**half, kind="hard", hardness=2.0) == 0.25
    assert priority(3, 3, kind="hard", hardness=1.0) == pytest.approx(1 - 3.5 / 4)
    assert priority(3, 3, kind="variance", hardness=1.0) == pytest.approx(3.5 / 4 * (1 - 3.5 / 4))
    assert priority(3, 3, kind="hard", hardness=0.0) == 1.0


def test_versions_that_win_are_met_more_often():
    own = league(BOTH)
    config = PrioritisedConfig(snapshot_every=1, hardness=2.0, opponents_per_step=50)
    sampler = Prioritised(config, league=own, seed=0)
    groups = [True] * 100
    sampler.matches(0, groups)
    own.learn()
    sampler.matches(1, groups)
    lost = {"attacker": "attacker", "defender": "defender@0"}
    won = {"attacker": "attacker", "defender": "defender@1"}
    sampler.finish(
        1,
        [Result(players=lost, payoffs={"attacker": -1.0, "defender": 1.0})] * 20
        + [Result(players=won, payoffs={"attacker": 1.0, "defender": -1.0})] * 20,
    )
    met = [x.players["defender"] for x in sampler.matches(2, groups) if "attacker" in x.learners]
    assert met.count("defender@0") > 20 * max(1, met.count("defender@1"))


def test_psro_measures_every_pair_once_and_meets_opponents_as_its_solution_says():
    own = league(BOTH)
    sampler = PSRO(PSROConfig(round_steps=2, payoff_games=2), league=own, seed=0)
    for number in range(6):
        matches = step(sampler, own, number)
    played = [x[1:] for x in own.calls if x[0] == "play"]
    versions = [0, 2, 4, 6]
    assert sorted(played) == [
        (f"attacker@{a}", f"defender@{d}") for a in versions for d in versions
    ]
    assert sampler.table.attackers == [f"attacker@{k}" for k in versions]
    expected = [[pays(f"a@{a}", f"d@{d}")[0] for d in versions] for a in versions]
    assert sampler.table.table("attacker") == pytest.approx(np.array(expected))
    # the latest versions dominate, so they alone are met
    assert sampler.meta["defender"][-1] == pytest.approx(1.0, abs=1e-2)
    assert {x.players["defender"] for x in matches if x.learners == ("attacker",)} == {"defender@4"}


def test_psro_from_the_start_goes_back_before_each_round_but_keeps_the_last_response():
    own = league(BOTH)
    sampler = make("psro from the start", own)
    for number in range(6):
        step(sampler, own, number)
    recalled = [x for x in own.calls if x[0] == "recall"]
    assert recalled == [("recall", "attacker@0"), ("recall", "defender@0")]


def test_psro_forgets_the_least_met_versions_and_their_payoffs():
    own = league(BOTH)
    sampler = PSRO(PSROConfig(round_steps=1, payoff_games=1, history=2), league=own, seed=0)
    for number in range(5):
        step(sampler, own, number)
    assert len(sampler.table.attackers) == 2
    assert sampler.table.attackers[-1] == "attacker@5"
    assert sampler.table.table("defender").shape == (2, 2)
    assert sum(sampler.meta["attacker"]) == pytest.approx(1.0)


def test_the_weakest_members_give_way_to_children_of_the_strongest():
    own = league(BOTH)
    config = PopulationConfig(members=3, member_steps=1, rating_games=4)
    sampler = Population(config, league=own, seed=0)
    for number in range(3):
        step(sampler, own, number)
    members = sampler.state()["members"]
    born = [x for x in own.calls if x[0] == "breed" and len(x) == 3]
    # versions are rated by their number here: the last to be frozen are the best
    for name in ("attacker", "defender"):
        before = sorted(members[name][1:], key=lambda x: int(x.partition("@")[2]))
        assert ("breed", before[-1], before[-2]) in born
        assert ("recall", before[-1]) in own.calls[-4:]
    assert sorted(own.frozen) == sorted(members["attacker"] + members["defender"])


@pytest.mark.parametrize("name", [x for x in SAMPLERS if x != "self_play"])
def test_a_league_needs_both_roles(name):
    with pytest.raises(RedteamError, match=r"defender.*not trained"):
        make(name, FakeLeague(weights={"attacker": "attacker"}))


@pytest.mark.parametrize(
    ("config", "options", "named"),
    [
        (AlternatingConfig, {"block": 0}, "block is 0"),
        (FictitiousConfig, {"history": 0}, "history is 0"),
        (FictitiousConfig, {"snapshot_every": -1}, "snapshot_every is -1"),
        (PrioritisedConfig, {"history": 0}, "history is 0"),
        (PrioritisedConfig, {"priority": "hrad"}, "hard"),
        (PrioritisedConfig, {"hardness": -1.0}, "hardness is -1"),
        (PSROConfig, {"history": 0}, "history is 0"),
        (PSROConfig, {"payoff_games": 0}, "payoff_games is 0"),
        (PSROConfig, {"meta_solver": "lpp"}, "lp"),
        (PSROConfig, {"response_from": "frist"}, "first"),
        (PopulationConfig, {"members": 1}, "members is 1"),
        (PopulationConfig, {"mutation": float("nan")}, "mutation is nan"),
    ],
)
def test_wrong_settings_are_named(config, options, named):
    with pytest.raises(RedteamError, match=named):
        config(**options)
