"""Seeds on which a seat fails come back, and nothing else of a step changes."""

import json
import math
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace

import pytest

from algorithms.training.replay import ReplayConfig, UcbReplay, payoff, ucb
from redteam_env.game import Episode, RedteamError, Seed, Turn
from redteam_env.protocols import GameSetup

SEEDS = [
    Seed(id=f"{label}{k}", text=f"{label} {k}", harmful=label == "bad", split="train")
    for label in ("bad", "good")
    for k in range(6)
]
BY_ID = {seed.id: seed for seed in SEEDS}
ROLES = ("attacker", "defender")


def turn(seat):
    return Turn(seat=seat, text="x", visible="x", thought=None, well_formed=True)


def episode(name, attacker, defender, *, rewritten=True, void=None):
    seats = ("attacker_0", "defender_0") if rewritten else ("defender_0",)
    pay = {"attacker_0": attacker, "defender_0": defender}
    return Episode(
        seed=BY_ID[name],
        rewritten=rewritten,
        turns=tuple(turn(seat) for seat in seats),
        verdict=None,
        rewards=pay,
        components={seat: {"harm": x, "format": 5.0} for seat, x in pay.items()},
        samples=seats,
        void=void,
    )


def setups(n=8, group_size=1):
    return [
        GameSetup(
            seed=SEEDS[k % 2 * 6 + k % 6],
            rewritten=k % 4 < 2,
            path=(0, "game", k * group_size + j),
            group=k,
        )
        for k in range(n)
        for j in range(group_size)
    ]


def replay(share=1.0, roles=ROLES, exploration=0.0, scripted=MappingProxyType({})):
    config = ReplayConfig(seed_replay="ucb", replay_share=share, replay_exploration=exploration)
    made = UcbReplay(config, roles, SEEDS, seed=0)
    made.on_start(SimpleNamespace(scripted=scripted))
    return made


def test_the_score_is_that_of_ucb1():
    assert ucb(3, 4, 100, 0.5) == pytest.approx(0.75 + 0.5 * math.sqrt(math.log(100) / 4))
    assert ucb(3, 4, 100, 0.0) == 0.75


def test_payoffs_leave_the_format_component_out():
    assert payoff(episode("bad0", -1.0, 1.0), "attacker_0") == -1.0


def test_before_anything_was_played_nothing_is_replaced():
    assert replay().setups(1, setups()) == setups()


@pytest.mark.parametrize("group_size", [1, 3])
def test_only_seeds_change_and_labels_stay(group_size):
    own = replay(share=0.5)
    own.on_episodes(0, [episode(seed.id, -1.0, -1.0) for seed in SEEDS])
    before = setups(group_size=group_size)
    after = own.setups(1, before)
    assert after != before
    for old, new in zip(before, after, strict=True):
        assert (old.path, old.group, old.rewritten) == (new.path, new.group, new.rewritten)
        assert old.seed.harmful == new.seed.harmful
    for group in {x.group for x in after}:
        assert len({x.seed.id for x in after if x.group == group}) == 1
    changed = {x.group for x, y in zip(before, after, strict=True) if x.seed != y.seed}
    assert len(changed) <= 4


def test_the_seeds_a_role_fails_on_come_back_first():
    own = replay(roles=("defender",))
    won = [episode(f"{label}{k}", -1.0, 1.0) for label in ("bad", "good") for k in range(1, 6)]
    lost = [episode("bad0", 1.0, -1.0), episode("good0", 1.0, -1.0)]
    own.on_episodes(0, [*won, *lost])
    after = own.setups(1, setups(2))
    assert {x.seed.id for x in after} == {"bad0", "good0"}


def test_seeds_that_are_little_known_come_back_with_exploration():
    often = [episode("bad0", 1.0, -1.0)] * 30 + [episode("bad1", -1.0, 1.0)]
    for exploration, first in ((0.0, "bad0"), (5.0, "bad1")):
        own = replay(roles=("defender",), exploration=exploration)
        own.on_episodes(0, often)
        assert own.setups(1, setups(1))[0].seed.id == first


def test_raw_games_count_for_the_defender_only_and_void_ones_for_nobody():
    own = replay()
    own.on_episodes(
        0, [episode("bad0", 0.0, -1.0, rewritten=False), episode("bad1", -1.0, -1.0, void="x")]
    )
    assert own.state() == {"counts": {"attacker": {}, "defender": {"bad0": [1, 1]}}}


def test_what_a_script_failed_on_is_no_failure_of_the_seat():
    own = replay(scripted={3: "attacker"})
    own.on_episodes(0, [replace(episode("bad0", -1.0, -1.0), group=3)])
    assert own.state() == {"counts": {"attacker": {}, "defender": {"bad0": [1, 1]}}}


def test_counts_come_back_from_json_and_seeds_that_are_gone_are_named():
    own = replay()
    own.on_episodes(0, [episode(seed.id, -1.0, 1.0) for seed in SEEDS])
    state = json.loads(json.dumps(own.state()))
    other = replay()
    other.load_state(state)
    assert other.setups(1, setups()) == own.setups(1, setups())
    with pytest.raises(RedteamError, match="bad0"):
        UcbReplay(ReplayConfig(), ROLES, SEEDS[1:], seed=0).load_state(state)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed_replay": "ucbb"}, "ucb"),
        ({"replay_share": 1.5}, "replay_share is 1.5"),
        ({"replay_exploration": -1.0}, "replay_exploration is -1"),
    ],
)
def test_wrong_settings_are_named(options, named):
    with pytest.raises(RedteamError, match=named):
        ReplayConfig(**options)
