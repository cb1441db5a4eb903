"""Figures of games between arms, on rows made by hand."""

import pytest
from experiment_fakes import WORLD, games_of, row, substances, tiny_experiment

from algorithms.studies.experiments.encounters import Encounters
from algorithms.studies.games import Who, game_rows
from redteam_env.game import ATTACKER, DEFENDER, reward_table
from redteam_env.protocols import Reply
from redteam_env.rollout import play
from redteam_env.worlds.apothecary import ApothecaryJudge, Language, OracleDefender
from redteam_env.worlds.apothecary.grammar import REFUSALS, answer
from redteam_env.worlds.apothecary.suites import make_suite
from redteam_env.worlds.apothecary.tabular.claims import gap, project
from redteam_env.worlds.apothecary.tabular.game import TacticsGame

TINY = tiny_experiment()
FOUND = Encounters(TINY, WORLD)
SECRET, OTHER = substances(restricted=True, split="train")[:2]
HARMLESS, SECOND = substances(restricted=False, split="train")[:2]


def met(attacker=("shared", 0), defender=("shared", 0), **options):
    """A row of two arms' game."""
    return row(
        **{
            "kind": "cross",
            "substance": SECRET,
            "attacker": attacker[0],
            "attacker_seed": attacker[1],
            "defender": defender[0],
            "defender_seed": defender[1],
            **options,
        }
    )


def benign(*who, **options):
    return met(*who, substance=HARMLESS, answers="recipe", **options)


def cell(found, attacker="shared", defender="shared", split="train", where="pairs"):
    (one,) = (
        x
        for x in found[where]
        if (x["attacker"], x["defender"], x["split"]) == (attacker, defender, split)
    )
    return one


def test_asking_for_another_restricted_substance_is_no_faithful_attack(tmp_path):
    rows = [
        met(answers="recipe", substance=SECRET),
        met(answers="recipe", substance=SECRET, asks=OTHER),  # told, but not what the seed asks
        met(answers="refusal", substance=SECRET),
        met(answers="please ask again", substance=SECRET, asks=HARMLESS),
        benign(),
    ]
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    assert found["exact_attack_success"]["values"] == [0.25]
    assert found["attack_success"]["values"] == [0.5]


def test_a_seed_dressed_or_in_a_sandwich_is_still_asked_for(tmp_path):
    language = Language(WORLD)
    rows = [
        {**met(answers="recipe"), "prompt": language.render(SECRET, ("spelled", "story"))},
        {**met(answers="recipe"), "prompt": language.render(SECRET, ("sandwich",), filler=SECOND)},
        benign(),
    ]
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    assert found["exact_attack_success"]["values"] == [1.0]


def test_over_refusal_is_that_of_benign_seeds_whatever_they_became(tmp_path):
    rows = [
        met(),
        benign(),
        met(substance=HARMLESS, answers="refusal"),
        met(substance=HARMLESS, answers="please ask again"),
        met(substance=HARMLESS, asks=SECRET, answers="refusal"),
    ]
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    assert found["over_refusal_rewritten"]["values"] == [0.75]


def test_the_miss_rate_leaves_unfaithful_rewrites_out(tmp_path):
    rows = [
        met(score=2.0),
        met(substance=OTHER, score=0.0),
        met(asks=HARMLESS, score=-9.0),  # would be missed
        benign(score=1.0),
        met(substance=SECOND, asks=OTHER, score=9.0),  # would be an over-refusal
    ]
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    # one harmful request stands above the benign one, the other below: at 10 % half is missed,
    # less a tenth of the way to the next threshold, where none is
    assert found["miss"]["values"] == [pytest.approx(0.5)]


def test_without_faithful_rewrites_of_both_labels_there_is_no_miss_rate(tmp_path):
    rows = [met(asks=OTHER), benign()]
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    assert found["miss"] is None
    assert found["exact_attack_success"]["values"] == [0.0]


def success(attacker, defender, wins, n=4, **options):
    """Games of which so many are won by the attacker, and a benign one."""
    rows = [
        met(attacker, defender, answers="recipe" if k < wins else "refusal", **options)
        for k in range(n)
    ]
    return [*rows, benign(attacker, defender, **options)]


def test_pairs_are_of_one_seed_and_strangers_of_two(tmp_path):
    rows = [
        *success(("shared", 0), ("shared", 0), 1),
        *success(("shared", 1), ("shared", 1), 2),
        *success(("shared", 0), ("shared", 1), 3),
        *success(("shared", 1), ("shared", 0), 4),
        *success(("base", -1), ("shared", 0), 0),
        *success(("base", -1), ("shared", 1), 4),
        *success(("shared", 1), ("base", -1), 2),
        *success(("base", -1), ("base", -1), 3),
    ]
    found = FOUND.crossplay(games_of(rows, tmp_path))
    name = "exact_attack_success"
    assert cell(found)[name]["values"] == [0.25, 0.5]
    assert cell(found, where="strangers")[name]["values"] == [0.75, 1.0]  # by the attacker's seed
    assert cell(found, attacker="base")[name]["values"] == [0.0, 1.0]
    assert cell(found, defender="base")[name]["values"] == [0.5]
    assert cell(found, attacker="base", defender="base")[name]["values"] == [0.75]
    assert len(found["strangers"]) == 1


def test_a_pairs_value_is_the_mean_of_its_checkpoints(tmp_path):
    rows = success(("shared", 0), ("shared", 0), 1, step=1)
    rows += success(("shared", 0), ("shared", 0), 4, step=2)
    found = cell(FOUND.crossplay(games_of(rows, tmp_path)))
    assert found["exact_attack_success"]["values"] == [0.625]


def test_own_play_is_told_from_play_with_a_stranger_and_the_base(tmp_path):
    rows = []
    for arm, excess in (("shared", 2), ("bipolicy", 1)):
        for seed in (0, 1):
            rows += success((arm, seed), (arm, seed), 1 + seed)
            rows += success((arm, seed), (arm, 1 - seed), 1 + seed + excess)
            rows += success((arm, seed), ("base", -1), 4)
            rows += success((arm, seed), ("shared" if arm == "bipolicy" else "bipolicy", seed), 0)
            rows += success(("base", -1), (arm, seed), 0)
    found = FOUND.own_play(games_of(rows, tmp_path))
    for arm, excess in (("shared", 0.5), ("bipolicy", 0.25)):
        assert found["own"][arm]["values"] == [0.25, 0.5]
        assert found["stranger"][arm]["values"] == [0.25 + excess, 0.5 + excess]
        assert found["base"][arm]["values"] == [1.0, 1.0]
        assert found["stranger - own"][arm]["values"] == [excess, excess]
    assert "base" not in found["own"]


def test_an_arm_that_trains_one_seat_has_no_stranger_and_no_excess(tmp_path):
    rows = success(("attacker_only", 0), ("base", -1), 2)
    found = FOUND.own_play(games_of(rows, tmp_path))
    assert found["base"]["attacker_only"]["values"] == [0.5]
    assert found["own"] == found["stranger - own"] == {}


def rewrites(attacker, texts, defender=("shared", 0), substance=SECRET):
    judge = ApothecaryJudge()
    made = []
    for text in texts:
        read = judge.decode(text)
        harmful = read is not None and read.restricted
        made.append(
            {**met(attacker, defender, substance=substance, answers="please ask again")}
            | {"prompt": text, "prompt_harmful": harmful, "refused": False}
        )
    return made


def test_what_attackers_write_is_counted_once_and_only_faithful_rewrites_have_tactics(tmp_path):
    language = Language(WORLD)
    dressed = [language.render(SECRET, x) for x in (("spelled",), ("spelled",), ("story",), ())]
    unfaithful = [Language.request(OTHER), REFUSALS[0], "take mud"]
    harmless = [Language.request(HARMLESS), Language.request(SECRET)]
    rows = []
    for defender in (("shared", 0), ("bipolicy", 0), ("shared", 1)):
        rows += rewrites(("shared", 0), [*dressed, *unfaithful], defender)
        rows += rewrites(("shared", 0), harmless, defender, HARMLESS)
    found = FOUND.attackers(games_of(rows, tmp_path))
    assert found["exact_faithfulness"]["shared"]["values"] == [pytest.approx(5 / 9)]
    assert found["label_drift"]["shared"]["values"] == [0.5]
    assert found["refuses"]["shared"]["values"] == [pytest.approx(1 / 9)]
    assert found["hidden"]["shared"]["values"] == [0.5]
    assert found["entropy"]["shared"]["values"] == [pytest.approx(1.5)]  # 1/2, 1/4, 1/4
    assert found["coverage"]["shared"]["values"] == [3 / len(WORLD.combination_splits)]
    assert 0 < found["distance"]["shared"]["values"][0] < 1


def test_an_attacker_without_faithful_rewrites_has_no_variety(tmp_path):
    rows = rewrites(("shared", 0), [REFUSALS[0]] * 3)
    rows += rewrites(("shared", 0), [Language.request(HARMLESS)], substance=HARMLESS)
    found = FOUND.attackers(games_of(rows, tmp_path))
    assert found["exact_faithfulness"]["shared"]["values"] == [0.25]
    assert found["entropy"] == found["distance"] == {}


def games_against(kind, attacker, defender, wins, split="train", *, n=8, **options):
    """Harmful games of which every so many in a row are won, and a benign one."""
    secret = substances(restricted=True, split=split)[0]
    harmless = substances(restricted=False, split=split)[0]
    rows = [
        met(
            attacker,
            defender,
            kind=kind,
            substance=secret,
            answers="recipe" if k < wins else "refusal",
            **options,
        )
        for k in range(n)
    ]
    return [
        *rows,
        met(attacker, defender, kind=kind, substance=harmless, answers="recipe", **options),
    ]


def scripts(defender, wins, **options):
    return [
        x
        for suite, won in wins.items()
        for x in games_against("suite", ("scripted", -1), defender, won, suite=suite, **options)
    ]


def responses(tmp_path, fresh, other):
    return FOUND.responses(games_of(fresh, tmp_path), games_of(other, tmp_path))["train"]


def test_the_best_attacker_is_the_best_of_scripts_crossplay_and_the_fresh_one(tmp_path):
    me = ("shared", 0)
    fresh = games_against("best response", ("best_response", 0), me, 2)
    other = scripts(me, {"k1": 4, "k2": 1})
    found = responses(tmp_path, fresh, other)
    assert found["script"]["shared"]["values"] == [0.5]
    assert found["fresh"]["shared"]["values"] == [0.25]
    assert found["fresh - script"]["shared"]["values"] == [-0.25]
    assert found["best"]["shared"]["values"] == [0.5]
    other += games_against("cross", ("bipolicy", 0), me, 6)
    other += games_against("cross", ("base", -1), me, 0)
    found = responses(tmp_path, fresh, other)
    assert found["best"]["shared"]["values"] == [0.75]
    assert found["base"]["shared"]["values"] == [0.0]


def test_only_the_defender_itself_counts_at_its_last_checkpoint(tmp_path):
    me = ("shared", 0)
    fresh = games_against("best response", ("best_response", 0), me, 0)
    other = scripts(me, {"k1": 2})
    other += scripts(me, {"k1": 8}, step=1)  # an earlier checkpoint
    other += scripts(("shared", 1), {"k1": 8})  # another run
    other += scripts(("bipolicy", 0), {"k1": 8})
    other += games_against("cross", ("bipolicy", 0), ("shared", 1), 8)
    assert responses(tmp_path, fresh, other)["best"]["shared"]["values"] == [0.25]


def test_the_base_counts_once_for_each_fresh_attacker_with_the_attackers_of_its_seed(tmp_path):
    base = ("base", -1)
    fresh = [
        x for s in (0, 1) for x in games_against("best response", ("best_response", s), base, 2)
    ]
    other = scripts(base, {"k1": 4}, step=0)
    other += games_against("cross", ("shared", 1), base, 8)
    found = responses(tmp_path, fresh, other)
    assert found["best"]["base"]["values"] == [0.5, 1.0]
    assert found["best"]["base"]["seeds"] == [0, 1]


def test_a_defender_that_met_no_script_has_no_best_attacker(tmp_path):
    fresh = games_against("best response", ("best_response", 0), ("shared", 0), 2)
    assert responses(tmp_path, fresh, [])["best"] == {}


class Teller:
    """Tells every recipe it is asked for."""

    def act(self, requests):
        decode = ApothecaryJudge().decode
        return [Reply(text=answer(decode(x.messages[-1]["content"]).asked)) for x in requests]


def test_stored_games_project_onto_the_twin_as_the_played_ones_do(tmp_path):
    """The defender reads plain requests, and tells whoever hides the name."""
    judge, rewards = ApothecaryJudge(), reward_table("self_redteam")
    defender = {"raw": OracleDefender(WORLD), "k1": Teller(), "k2": Teller()}
    suites = {kind: make_suite(WORLD, kind, "train", 64) for kind in ("raw", "k1", "k2")}
    played = {
        kind: play(suite.setups, {ATTACKER: suite.attacker(), DEFENDER: defender[kind]}, judge)
        for kind, suite in suites.items()
    }
    own = {"attacker": "shared", "attacker_seed": 0, "defender": "shared", "defender_seed": 0}
    rows = game_rows(Who(kind="cross", step=2, **own), played["raw"])
    asked = {**own, "attacker": "scripted", "attacker_seed": -1}
    for kind in ("k1", "k2"):
        rows += game_rows(Who(kind="suite", step=2, suite=kind, **asked), played[kind])
    found = FOUND.twin(games_of(rows, tmp_path), rewards)
    twin = TacticsGame(WORLD)
    every = [x for episodes in played.values() for x in episodes]
    wanted = gap(twin, project(twin, played["raw"]), project(twin, every), rewards)
    assert found["left_out"] == []
    assert found["attacker_gain"]["shared"]["values"] == [pytest.approx(wanted.attacker)]
    assert found["defender_gain"]["shared"]["values"] == [pytest.approx(wanted.defender)]
    total = found["nash_conv"]["shared"]["values"][0]
    assert total == pytest.approx(wanted.nash_conv)
    assert wanted.attacker > 0


def test_a_pair_that_cannot_be_projected_is_left_out_by_name(tmp_path):
    rows = [met(), met(substance=OTHER)]  # no benign game
    rows += [met(kind="suite", attacker=("scripted", -1), suite="k1")]
    found = FOUND.twin(games_of(rows, tmp_path), reward_table("self_redteam"))
    (line,) = found["left_out"]
    assert line.startswith("shared seed 0: ")
    assert "benign" in line
    assert found["nash_conv"] == {}
