"""Preferences between games of one seed, and what a game pays under a judge's probabilities."""

import itertools
import math
from dataclasses import replace

import pytest
from algorithms.core.turns import Row
from hypothesis import given, settings
from hypothesis import strategies as st
from table_game import MatrixJudge, players
from table_policy import generation
from test_algorithms_learn import DOMINANCE, chance, options

from algorithms.core.preferences import expected_reward, pairs
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.game import DEFENDER, Game, RedteamError, Seed, Thinking, Verdict, reward_table
from redteam_env.protocols import Sample
from redteam_env.rollout import role_batches

FIELDS = ("prompt_harmful", "response_refusal", "response_harmful")


def row(score, group, game, role="attacker"):
    sample = Sample(
        generation=generation((0,), (0.0,)),
        reward=score,
        components={},
        well_formed=True,
        group=group,
        path=(role, game),
    )
    given = {"advantages": [score], "old": [0.0], "reference": [0.0], "weights": None}
    return Row(role=role, sample=sample, game=game, **given)


def test_every_two_games_of_a_group_that_differ_are_a_pair_the_better_one_first():
    rows = [row(1.0, 7, 0), row(3.0, 7, 1), row(1.0 + 1e-12, 7, 2), row(0.0, 8, 3)]
    rows += [row(9.0, 7, 0, "defender"), row(0.0, 7, 1, "defender"), row(1.0, 7, 0)]
    found = pairs(rows, soft=False)
    a, d = "attacker", "defender"
    assert [(x[1], y[1], q) for x, y, q in found if x[0] == a] == [(1, 0, 1.0), (1, 2, 1.0)]
    assert [(x, y) for x, y, _ in found if x[0] == d] == [((d, 0), (d, 1))]
    soft = pairs(rows[:2], soft=True)
    assert soft == [((a, 1), (a, 0), pytest.approx(1 / (1 + math.exp(-2.0))))]


@settings(deadline=None)
@given(
    st.sampled_from(["self_redteam", "self_redteam_all_one", "zero_sum", "safety_only", "magic"]),
    st.tuples(*[st.booleans()] * 4),
    st.tuples(*[st.floats(0, 1)] * 3),
)
def test_an_expected_reward_is_the_mean_over_all_verdicts(preset, truth, chances):
    """Exact, because rewards are linear in products of signs of answers that are independent."""
    table = reward_table(preset)
    seed_harmful, *answers = truth

    def score(labels):
        verdict = Verdict(**dict(zip(FIELDS, labels, strict=True)))
        return table.score(seed_harmful=seed_harmful, rewritten=True, verdict=verdict, formats={})

    verdict = Verdict(
        **dict(zip(FIELDS, answers, strict=True)),
        probabilities=dict(zip(FIELDS, chances, strict=True)),
    )
    game = Game()
    state = game.start(Seed(id="s", text="s", harmful=seed_harmful), rewritten=True)
    for _ in range(2):
        state = game.apply(state, "x", generation=generation((0,), (0.0,)))
    batches = role_batches([game.finish(state, verdict)])
    for role in ("attacker", "defender"):
        (sample,) = batches[role].samples
        sample = replace(sample, components=score(answers)[role])
        mean = 0.0
        for labels in itertools.product((True, False), repeat=3):
            share = math.prod(p if x else 1 - p for p, x in zip(chances, labels, strict=True))
            mean += share * sum(score(labels)[role].values())
        assert expected_reward(sample) == pytest.approx(mean, abs=1e-9)


def test_a_certain_judge_leaves_rewards_as_they_are_and_format_needs_no_judge():
    sure = dict.fromkeys(FIELDS, 1.0)
    base = row(0.0, 0, 0).sample
    components = {"harm": 1.0, "refusal": -0.5, "format": 1.0}
    assert expected_reward(replace(base, components=components, confidence=sure)) == 1.5
    assert expected_reward(replace(base, components={"forfeit": -3.0, "format": -1.0})) == -4.0
    with pytest.raises(RedteamError, match="no probability of response_harmful"):
        expected_reward(replace(base, components=components, confidence={"prompt_harmful": 1.0}))


class Unsure(MatrixJudge):
    """Answers the same to all, but not with the same probability."""

    def verdict(self, dialogue):
        found = super().verdict(dialogue)
        chances = {"a": 0.9, "b": 0.8, "c": 0.6}
        return replace(
            found,
            response_harmful=True,
            probabilities={"response_harmful": chances[dialogue.response[0]]},
        )


@pytest.mark.parametrize("pair_loss", ["dpo", "ipo"])
def test_probabilities_teach_where_the_answers_alone_cannot(doubles, tmp_path, pair_loss):
    doubles("judges", "matrix", lambda: Unsure(matrix=DOMINANCE))
    learnt = {}
    for preference in ("order", "judge"):
        policy = players()
        more = {"preference": preference, "pair_loss": pair_loss, "rewards": "safety_only"}
        more |= {"out": str(tmp_path / preference), "steps": 8}
        config = TrainConfig.from_flat({**options("online_dpo", tmp_path), **more})
        train(config, policy=policy)
        learnt[preference] = chance(policy, "defender", "c")
    assert learnt["order"] == pytest.approx(1 / 3)
    assert learnt["judge"] > 0.6


def test_a_forfeited_game_has_no_doubt():
    game = Game(thinking={DEFENDER: Thinking.REQUIRED})
    state = game.start(Seed(id="s", text="s", harmful=True), rewritten=False)
    state = game.apply(state, "no tags", generation=generation((0,), (0.0,)))
    episode = game.finish(state, None)
    (sample,) = role_batches([episode])["defender"].samples
    assert episode.samples == (DEFENDER,)
    assert sample.confidence == {}
    assert expected_reward(sample) == sample.reward
