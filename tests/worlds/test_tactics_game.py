"""The twin is the game: its tables are the rewards of games really played, by the exact judge."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.equilibria.solve import equilibrium, nash_conv
from redteam_env.game import ATTACKER, DEFENDER, PRESETS, Game, RedteamError, reward_table
from redteam_env.judges.recorded import always
from redteam_env.protocols import GameSetup, Reply
from redteam_env.rollout import play
from redteam_env.worlds.apothecary import (
    OracleDefender,
    ScriptedAttacker,
    WorldConfig,
    combinations,
    make_world,
    world_seeds,
)
from redteam_env.worlds.apothecary.tabular.claims import (
    AS_IT_STANDS,
    equilibria_table,
    gap,
    project,
    variants,
)
from redteam_env.worlds.apothecary.tabular.game import (
    ALWAYS,
    BENIGN,
    HARMFUL,
    LABELS,
    NEVER,
    NOTHING,
    ORACLE,
    RULES,
    Action,
    RuleDefender,
    TacticsGame,
)

WORLD = make_world(WorldConfig(substances=24))
TWIN = TacticsGame(WORLD)
BLIND = TacticsGame(WORLD, rules=[rule for rule in RULES if rule != ORACLE])
SEEDS = [
    seed
    for split in ("train", "heldout")
    for seed in world_seeds(WORLD).seeds(split)
    if seed.id.endswith("-0")
]
GATED = dataclasses.replace(PRESETS["self_redteam"], faithfulness_gate=-1.5)


class Swapper:
    """Asks for the other label's substance: an unfaithful rewrite of every seed."""

    def __init__(self, tactics):
        self.attacker = ScriptedAttacker(WORLD, tactics)
        self.other = {x: [s for s in SEEDS if s.harmful is not x] for x in (False, True)}

    def act(self, requests):
        swapped = [
            dataclasses.replace(
                request, seed=self.other[request.seed.harmful][k % len(self.other[True])]
            )
            for k, request in enumerate(requests)
        ]
        return self.attacker.act(swapped)


class Mumbler:
    def act(self, requests):
        return [Reply(text="what was that") for _ in requests]


def games(attacker, defender, *, rewards="self_redteam", rewritten=True, judge=TWIN.judge):
    setups = [
        GameSetup(seed=seed, rewritten=rewritten, path=("twin", k), group=k)
        for k, seed in enumerate(SEEDS)
    ]
    agents = {ATTACKER: attacker, DEFENDER: defender}
    return play(setups, agents, judge, game=Game(rewards=reward_table(rewards)))


def cell(action_h, action_b, rule, table, **options):
    played = TWIN.bimatrix(table, **options)
    place = played.rows.index((action_h.name, action_b.name)), TWIN.place(rule)
    return played.attacker[place], played.defender[place]


def mean_rewards(episodes):
    return tuple(np.mean([x.rewards[seat] for x in episodes]) for seat in (ATTACKER, DEFENDER))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tactics", [("alias",), ("spelled", "exam"), ("sandwich",)], ids=str)
def test_a_cell_is_the_mean_reward_of_the_games_it_stands_for(tactics, rule):
    form = next((x for x in tactics if x in ("alias", "spelled")), "plain")
    dress = form, bool(set(tactics) - {form})
    defender = RuleDefender(TWIN.judge, rule)
    faithful = Action(HARMFUL, *dress), Action(BENIGN, *dress)
    for attacker, actions in (
        (ScriptedAttacker(WORLD, tactics), faithful),
        (Swapper(tactics), faithful[::-1]),
    ):
        for table in ("self_redteam", "zero_sum", GATED):
            expected = mean_rewards(games(attacker, defender, rewards=table))
            assert cell(*actions, rule, table) == pytest.approx(expected), (table, actions)


@pytest.mark.parametrize("rule", [ALWAYS, NEVER, ORACLE, "restricted-name"])
def test_raw_games_pay_the_defender_what_plain_requests_do_and_the_attacker_nothing(rule):
    defender = RuleDefender(TWIN.judge, rule)
    raw = mean_rewards(games(Mumbler(), defender, rewritten=False))
    actions = Action(NOTHING), Action(NOTHING)
    assert cell(*actions, rule, "self_redteam", rewrite_fraction=0.0) == pytest.approx(raw)
    half = cell(*actions, rule, "self_redteam", rewrite_fraction=0.5)
    rewritten = mean_rewards(games(Mumbler(), defender))
    assert half == pytest.approx([(x + y) / 2 for x, y in zip(raw, rewritten, strict=True)])


def test_what_is_dropped_from_the_defenders_batch_pays_it_nothing():
    table = reward_table("self_redteam", drop_unfaithful=True)
    swapped = Action(BENIGN, "alias"), Action(HARMFUL, "alias")
    assert cell(*swapped, ORACLE, table)[1] == 0
    faithful = cell(*swapped[::-1], ORACLE, table)
    assert faithful == cell(*swapped[::-1], ORACLE, "self_redteam")


@given(st.sampled_from(combinations(stacked=True)), st.sampled_from(WORLD.substances))
def test_a_rule_treats_all_texts_of_an_action_alike(tactics, substance):
    filler = next(x for x in WORLD.ordinary if x is not substance)
    text = TWIN.judge.language.render(
        substance, tactics, filler=filler if "sandwich" in tactics else None
    )
    action = TWIN.action_of(text)
    assert action.content == (HARMFUL if substance.restricted else BENIGN)
    shares = TWIN.outcomes[TWIN.index(action)]
    for k, rule in enumerate(RULES):
        refused = RuleDefender(TWIN.judge, rule).respond(text).startswith("sorry")
        expected = (substance.restricted, refused, substance.restricted and not refused)
        assert shares[k, np.ravel_multi_index([int(x) for x in expected], (2, 2, 2))] == 1


def test_outcomes_are_shares_and_the_oracle_is_the_scripted_one():
    assert TWIN.outcomes.sum(axis=2) == pytest.approx(np.ones(TWIN.outcomes.shape[:2]))
    for tactics in combinations()[::60]:
        attacker = ScriptedAttacker(WORLD, tactics)
        ours = games(attacker, RuleDefender(TWIN.judge, ORACLE))
        assert [x.rewards for x in ours] == [
            x.rewards for x in games(attacker, OracleDefender(WORLD))
        ]


def test_a_world_without_some_tactics_has_a_smaller_twin():
    config = WorldConfig(substances=24, tactics=("alias", "exam"), rare=("alias",))
    names = [x.name for x in TacticsGame(make_world(config)).actions]
    dresses = ("plain", "plain+decor", "alias", "alias+decor")
    assert names == [*(f"{label}:{x}" for label in LABELS for x in dresses), NOTHING]


@pytest.fixture(scope="module")
def findings():
    return equilibria_table(WORLD)


def test_the_oracle_is_an_equilibrium_under_every_preset_and_never_refusing_under_none(findings):
    standing = [x for x in findings if x.variant == AS_IT_STANDS]
    assert len(standing) == 4 * len(PRESETS)
    assert all(x.alone[ORACLE] for x in standing if x.oracle)
    assert not any(x.alone[NEVER] for x in standing)


def test_always_refusing_is_one_under_safety_only_or_without_oracle_and_raw_games(findings):
    standing = [x for x in findings if x.variant == AS_IT_STANDS]
    found = {(x.preset, x.oracle, x.raw) for x in standing if x.alone[ALWAYS]}
    assert found == {
        *(("safety_only", oracle, raw) for oracle in (True, False) for raw in (0.5, 0.0)),
        ("self_redteam", False, 0.0),
        ("self_redteam_all_one", False, 0.0),
    }


def test_the_refusal_term_is_what_keeps_always_refusing_from_being_one(findings):
    usual = [x for x in findings if x.oracle and x.raw == 0.5 and x.preset != "safety_only"]
    for x in usual:
        assert x.alone[ALWAYS] is (x.variant == "without refusal"), (x.preset, x.variant)
    harmless = [x for x in findings if x.variant == "without harm" and x.preset != "safety_only"]
    assert all(x.alone[ORACLE] for x in harmless)


def test_learning_ends_at_the_oracle_unless_safety_alone_is_paid(findings):
    for x in findings:
        if x.variant == AS_IT_STANDS and x.oracle:
            assert (x.reached[ORACLE] > 0.99) is (x.preset != "safety_only"), x.preset


def test_zero_sum_presets_have_a_value_that_both_seats_share(findings):
    values = {
        x.preset: x.attacker
        for x in findings
        if x.zero_sum and x.variant == AS_IT_STANDS and x.oracle and not x.raw
    }
    assert values == pytest.approx(
        {"self_redteam_all_one": -1, "zero_sum": -0.75, "safety_only": -1, "magic": -1.5}
    )


def test_the_equilibrium_of_the_default_game_gives_always_refusing_no_weight():
    for preset in ("self_redteam_all_one", "zero_sum", "magic"):
        played = TWIN.bimatrix(preset, rewrite_fraction=0.5)
        found = equilibrium(played.attacker, played.defender)
        assert found.column[TWIN.place(ALWAYS)] == 0, preset


def test_taking_terms_away_keeps_a_zero_sum_table_zero_sum():
    for name, table in variants(PRESETS["zero_sum"]).items():
        played = TWIN.bimatrix(table)
        assert played.attacker == pytest.approx(-played.defender), name


def rule_of(name):
    return RuleDefender(TWIN.judge, name)


def against_every_action(defender):
    forms, frames = ("", "alias", "spelled", "reversed", "split"), ("", "exam")
    attackers = [ScriptedAttacker(WORLD, {a, b} - {""}) for a in forms for b in frames]
    return [x for attacker in (*attackers, Mumbler()) for x in games(attacker, defender)]


def test_a_projected_scripted_pair_has_the_gap_of_its_cell():
    for rule, tactics in (("hidden", ("spelled",)), ("restricted-name", ("alias", "exam"))):
        episodes = games(ScriptedAttacker(WORLD, tactics), RuleDefender(TWIN.judge, rule))
        seen = project(TWIN, episodes)
        played = TWIN.bimatrix("self_redteam")
        names = tuple(next(iter(seen.mixture(TWIN)[label])) for label in LABELS)
        x = np.eye(len(played.rows))[played.rows.index(names)]
        y = np.eye(len(RULES))[TWIN.place(rule)]
        every = project(TWIN, against_every_action(rule_of(rule)))
        found = gap(TWIN, seen, every, "self_redteam")
        assert found.unmet == ()
        assert found.nash_conv == pytest.approx(nash_conv(played.attacker, played.defender, x, y))
        assert gap(TWIN, seen, seen, "self_redteam").attacker <= found.attacker + 1e-9


def test_a_projection_tells_the_refused_share_of_each_action_that_was_met():
    seen = project(TWIN, games(ScriptedAttacker(WORLD, ["split"]), rule_of("restricted-name")))
    assert seen.refused(TWIN) == {"harmful:split": 0, "benign:split": 0}
    seen = project(TWIN, games(ScriptedAttacker(WORLD), rule_of("restricted-name")))
    assert seen.refused(TWIN) == {"harmful:plain": 1, "benign:plain": 0}
    assert seen.mixture(TWIN) == {HARMFUL: {"harmful:plain": 1}, BENIGN: {"benign:plain": 1}}


def test_the_oracle_with_an_attacker_that_cannot_gain_has_no_gap():
    seen = project(TWIN, games(ScriptedAttacker(WORLD), rule_of(ORACLE)))
    found = gap(TWIN, seen, seen, "self_redteam")
    assert found.nash_conv == pytest.approx(0)
    assert "harmful:alias" in found.unmet


def test_a_gap_needs_answers_to_what_is_played():
    plain = project(TWIN, games(ScriptedAttacker(WORLD), rule_of(ORACLE)))
    split = project(TWIN, games(ScriptedAttacker(WORLD, ["split"]), rule_of(ORACLE)))
    with pytest.raises(RedteamError, match="never met harmful:split"):
        gap(TWIN, split, plain, "magic")
    with pytest.raises(RedteamError, match="never met harmful:plain"):
        gap(TWIN, split, split, "magic", rewrite_fraction=0.5)
    raw = project(TWIN, games(Mumbler(), rule_of(ORACLE), rewritten=False))
    with pytest.raises(RedteamError, match="rewrote no harmful"):
        gap(TWIN, raw, plain, "magic")


def test_games_of_another_judge_or_without_verdict_are_no_projection():
    episodes = games(Mumbler(), rule_of(ORACLE), judge=always())
    with pytest.raises(RedteamError, match="'always'"):
        project(TWIN, episodes)
    with pytest.raises(RedteamError, match="None of the 0 games"):
        project(TWIN, [])


def test_wrong_names_shares_and_shapes_are_refused():
    with pytest.raises(RedteamError, match="rewards preset"):
        TWIN.bimatrix("selfredteam")
    with pytest.raises(RedteamError, match="benign_fraction is 2"):
        TWIN.bimatrix("magic", benign_fraction=2)
    with pytest.raises(RedteamError, match="outcomes has the shape"):
        TWIN.pays("magic", np.zeros((3, 2, 8)))
    with pytest.raises(RedteamError, match="decision rule"):
        TacticsGame(WORLD, rules=["refuse-all"])
    with pytest.raises(RedteamError, match="each once"):
        TacticsGame(WORLD, rules=[ORACLE, ORACLE])
    with pytest.raises(RedteamError, match="decision rule of the twin"):
        BLIND.place(ORACLE)
    with pytest.raises(RedteamError, match="no terms"):
        variants(reward_table(lambda signs: dict.fromkeys(signs, 0.0)))
