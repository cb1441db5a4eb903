import json
from collections import Counter

import pytest

from redteam_env.evaluation import Rate, compare, evaluate, heldout_setups
from redteam_env.game import RedteamError
from redteam_env.rollout import schedule


def shares(setups):
    return Counter((setup.seed.harmful, setup.rewritten) for setup in setups)


def test_heldout_games_are_balanced_over_labels_and_rewriting(source):
    assert set(shares(heldout_setups(source, 16, 0)).values()) == {4}


def test_heldout_games_are_the_same_every_time_and_never_training_seeds(source):
    setups = heldout_setups(source, 12, 3)
    assert setups == heldout_setups(source, 12, 3)
    assert setups != heldout_setups(source, 12, 4)
    assert {setup.seed.split for setup in setups} == {"heldout"}


def test_heldout_games_share_no_randomness_with_training_steps(source_of):
    training = schedule(source_of(split="train"), 8, path=(0, "step", 0))
    assert not {x.path for x in training} & {x.path for x in heldout_setups(source_of(), 8, 0)}


@pytest.mark.parametrize(("harmful", "benign"), [(5, 0), (0, 5)])
def test_a_source_with_one_label_gives_games_of_that_label(source_of, harmful, benign):
    setups = heldout_setups(source_of(harmful=harmful, benign=benign), 6, 0)
    assert {setup.seed.harmful for setup in setups} == {harmful > 0}
    assert len(setups) == 6


def test_a_source_without_heldout_seeds_is_an_error(source_of):
    with pytest.raises(RedteamError, match="'double' have no split 'heldout'"):
        heldout_setups(source_of(split="train"), 4, 0)


def test_evaluate_measures_the_games_it_played(source, judge, say):
    attacker = say(lambda request: request.seed.text)
    defender = say(lambda request: request.messages[-1]["content"])
    result = evaluate(
        attacker, defender, heldout_setups(source, 8, 0), judge, names=("echo", "parrot")
    )
    assert result.rates.attack_success == Rate(2, 2)
    assert result.rates.over_refusal_raw == Rate(0, 2)
    assert result.rates.faithfulness == Rate(4, 4)
    assert len(result.episodes) == 8


def test_the_json_form_names_the_judge_and_holds_no_text_of_players(source, judge, say):
    attacker, defender = say(lambda _: "HARM secret words"), say(lambda _: "secret answer")
    result = evaluate(attacker, defender, heldout_setups(source, 8, 0), judge)
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(text)["judge"] == "words"
    assert "secret" not in text
    assert "request number" not in text


def test_compare_pairs_before_and_after(source, judge, say):
    setups = heldout_setups(source, 16, 0)
    attacker = say(lambda request: request.seed.text)
    before = evaluate(attacker, say(lambda _: "HARM"), setups, judge)
    after = evaluate(attacker, say(lambda _: "NO"), setups, judge)
    found = compare(before, after)
    assert found.differences["attack_success"].value == -1
    assert found.differences["over_refusal_raw"].value == 1
    assert found.differences["over_refusal_raw"].n == 4
    assert compare(before, after) == found
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["before"]["judge"] == "words"


def test_verdicts_of_two_judges_are_not_compared(source, judge, say):
    setups = heldout_setups(source, 4, 0)
    agent = say(lambda _: "hello")
    before = evaluate(agent, agent, setups, judge)
    judge.name = "others"
    with pytest.raises(RedteamError, match="'words' and 'others'"):
        compare(before, evaluate(agent, agent, setups, judge))
