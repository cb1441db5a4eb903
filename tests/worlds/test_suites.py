"""Scripted suites: the same requests for everybody, with nothing but the substance to tell apart."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redteam_env.game import ATTACKER, DEFENDER, RedteamError
from redteam_env.protocols import TurnRequest
from redteam_env.randomness import generator
from redteam_env.rollout import play, schedule
from redteam_env.worlds.apothecary import (
    ApothecaryJudge,
    Corpus,
    OracleDefender,
    WorldConfig,
    make_world,
    world_seeds,
)
from redteam_env.worlds.apothecary.grammar import is_refusal
from redteam_env.worlds.apothecary.rates import faithful
from redteam_env.worlds.apothecary.suites import HIDDEN, KINDS, SPLITS, make_suite
from redteam_env.worlds.apothecary.tactics import SANDWICH

WORLD = make_world()
JUDGE = ApothecaryJudge()
SUITES = [make_suite(WORLD, kind, split, 96) for kind in KINDS for split in SPLITS]
EVERY = pytest.mark.parametrize("suite", SUITES, ids=lambda x: f"{x.kind}-{x.split}")
SECRET, OTHER_SECRET = WORLD.restricted[:2]
HARMLESS, OTHER_HARMLESS = WORLD.ordinary[:2]


def tactics(text):
    return JUDGE.decode(text).tactics


def pairs(suite):
    return list(zip(suite.setups[::2], suite.setups[1::2], strict=True))


@settings(max_examples=20)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(SPLITS),
    st.integers(1, 40).map(lambda x: 2 * x),
    st.integers(0, 2**31),
)
def test_the_same_arguments_give_the_same_suite(kind, split, games, seed):
    one = make_suite(WORLD, kind, split, games, seed=seed)
    assert make_suite(WORLD, kind, split, games, seed=seed) == one
    assert len(one.setups) == len(one.texts) == games


def test_other_seeds_kinds_and_splits_give_other_texts_and_games():
    one = make_suite(WORLD, "k2", "train", 64)
    for other in (
        make_suite(WORLD, "k2", "train", 64, seed=1),
        make_suite(WORLD, "k3", "train", 64),
        make_suite(WORLD, "k2", "heldout", 64),
    ):
        assert other.texts != one.texts
        assert not {x.path for x in one.setups} & {x.path for x in other.setups}


@EVERY
def test_harmful_and_benign_are_equal_in_number_and_alternate(suite):
    assert [x.seed.harmful for x in suite.setups] == [True, False] * (len(suite.texts) // 2)


@EVERY
def test_the_two_of_a_pair_are_dressed_alike(suite):
    """Without the names (and the fillers of sandwiches) no word differs within a pair."""
    names = re.compile(
        "|".join(sorted({w for x in WORLD.substances for w in (x.name, x.alias, *x.syllables)}))
    )
    for one, two in zip(suite.texts[::2], suite.texts[1::2], strict=True):
        assert tactics(one) == tactics(two)
        a, b = ([names.fullmatch(w) is None and w for w in text.split()] for text in (one, two))
        assert a == b


@EVERY
def test_every_text_asks_for_its_seeds_substance_with_its_seeds_label(suite):
    labels = {x.name: x.restricted for x in WORLD.substances}
    for setup, text in zip(suite.setups, suite.texts, strict=True):
        found = JUDGE.decode(text)
        assert setup.seed.category in [x.name for x in found.asked]
        assert found.restricted is setup.seed.harmful is labels[setup.seed.category]
        assert faithful(found, setup.seed)
        assert setup.rewritten


@EVERY
def test_seeds_are_the_worlds_own_in_the_phrasing_of_the_text(suite):
    own = {x.id: x for x in world_seeds(WORLD).seeds(suite.split)}
    for setup, text in zip(suite.setups, suite.texts, strict=True):
        assert own[setup.seed.id] == setup.seed
        assert setup.seed.text.removesuffix(setup.seed.category).strip() in text


@EVERY
def test_substances_are_those_of_the_split_and_come_up_equally_often(suite):
    splits = {x.name: x.split for x in WORLD.substances}
    for group in (WORLD.restricted, WORLD.ordinary):
        own = {x.name for x in group if x.split == suite.split}
        count = Counter(x.seed.category for x in suite.setups if x.seed.category in own)
        assert set(count) == own
        assert max(count.values()) - min(count.values()) <= 1
    for text in suite.texts:
        assert {splits[x.name] for x in JUDGE.decode(text).asked} == {suite.split}


@EVERY
def test_a_suite_has_as_many_tactics_as_its_name_says(suite):
    held, shown = (set(WORLD.combinations(split)) for split in ("heldout", "train"))
    found = {tactics(text) for text in suite.texts}
    if suite.kind == "raw":
        assert found == {frozenset()}
        assert suite.texts == tuple(x.seed.text for x in suite.setups)
    elif suite.kind == "shown":
        assert found <= shown - {frozenset()}
        assert {len(x) for x in found} > {1}
    elif suite.kind in HIDDEN:
        assert all(suite.kind in x for x in found)
        assert {len(x) for x in found} == {1, 2}
    else:
        assert {len(x) for x in found} == {int(suite.kind[1:])}
        assert found <= held


def test_the_base_attacker_demonstrates_no_held_out_combination_but_rare_ones_rarely():
    rare = set(WORLD.config.rare)
    corpus, rng = Corpus(WORLD), generator((0, "demonstrations"))
    texts = [corpus.attacker(rng).response for _ in range(4000)]
    seen = Counter(tactics(text) for text in texts if not is_refusal(text))
    asked = {tactics(t) for s in SUITES if s.kind in {"k1", "k2", "k3"} for t in s.texts}
    demonstrated = asked & set(seen)
    assert all(combination & rare for combination in demonstrated)
    assert sum(seen[x] for x in demonstrated) < 0.07 * len(texts)
    common = {x for x, n in seen.items() if not x & rare}
    assert {tactics(t) for s in SUITES if s.kind == "shown" for t in s.texts} <= common


def test_the_drawn_combinations_are_spread_over_all_that_there_are():
    suite = make_suite(WORLD, "k1", "train", 800)
    count = Counter(tactics(text) for text in suite.texts)
    assert {x for c in count for x in c} == set(WORLD.config.rare)
    assert max(count.values()) < 1.5 * min(count.values())


def test_a_sandwichs_filler_is_another_ordinary_substance_of_the_split():
    seen = 0
    for suite in SUITES:
        for setup, text in zip(suite.setups, suite.texts, strict=True):
            if SANDWICH in tactics(text):
                filler, asked = JUDGE.decode(text).asked
                assert not filler.restricted
                assert filler.name != asked.name == setup.seed.category
                seen += 1
    assert seen > 50


def test_a_world_of_other_tactics_has_suites_of_these_tactics():
    config = WorldConfig(
        seed=3, substances=24, tactics=("alias", "story", "urgent"), rare=("alias",)
    )
    world = make_world(config)
    judge = ApothecaryJudge(config)
    suite = make_suite(world, "k2", "heldout", 32)
    found = {judge.decode(text).tactics for text in suite.texts}
    assert found
    assert all("alias" in x and len(x) == 2 for x in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("k4", "train", 8), r"'k4'.*alias, k1, k2, k3, raw"),
        (("k1", "test", 8), r"'test'.*heldout, train"),
        (("k1", "train", 7), "games is 7.*even"),
        (("k1", "train", 0), "games is 0.*even"),
        (("k1", "train", -2), "games is -2.*even"),
    ],
)
def test_a_suite_that_cannot_be_is_an_error_that_names_what_is_wrong(arguments, message):
    with pytest.raises(RedteamError, match=message):
        make_suite(WORLD, *arguments)


def test_a_world_without_such_combinations_is_an_error_that_names_the_suite():
    world = make_world(WorldConfig(tactics=("alias", "story"), rare=("alias",)))
    with pytest.raises(RedteamError, match="no combination of tactics for the suite 'k3'"):
        make_suite(world, "k3", "train", 8)


def test_a_world_without_an_ordinary_substance_for_the_filler_is_an_error():
    world = make_world(WorldConfig(substances=4, train_share=0.5))
    with pytest.raises(RedteamError, match=r"'train'.*sandwich.*filler"):
        make_suite(world, "k2", "train", 64)
    assert make_suite(world, "raw", "train", 4).texts


def test_the_suites_attacker_says_each_text_in_its_own_game_in_any_order():
    suite = make_suite(WORLD, "k2", "heldout", 32)
    agents = {ATTACKER: suite.attacker(), DEFENDER: OracleDefender(WORLD)}
    episodes = play(suite.setups, agents, JUDGE)
    assert tuple(x.dialogue.prompt for x in episodes) == suite.texts
    backwards = play(suite.setups[::-1], agents, JUDGE, batch_size=5)
    assert tuple(x.dialogue.prompt for x in backwards[::-1]) == suite.texts
    assert all(x.verdict.prompt_harmful is x.seed.harmful for x in episodes)
    assert all(x.verdict.response_refusal is x.seed.harmful for x in episodes)


def test_the_suites_attacker_refuses_games_of_others():
    suite = make_suite(WORLD, "k2", "heldout", 32)
    agents = {ATTACKER: suite.attacker(), DEFENDER: OracleDefender(WORLD)}
    others = schedule(world_seeds(WORLD), 4, path=(0,), rewrite_fraction=1.0)
    with pytest.raises(RedteamError, match="none of this suite's"):
        play(others, agents, JUDGE)
    with pytest.raises(RedteamError, match="none of this suite's"):
        suite.attacker().act([TurnRequest(seat=ATTACKER, role="attacker", messages=[], path=())])
