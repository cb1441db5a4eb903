"""Preferences between games of one seed, and what a game pays under a judge's probabilities."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_game import MatrixJudge, players
from table_policy import generation
from test_algorithms_learn import DOMINANCE, chance, options

from algorithms.core.preferences import expected_reward, pairs
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.game import DEFENDER, Game, RedteamError, Seed, Thinking, Verdict, reward_table
from redteam_env.protocols import Batch

FIELDS = ("prompt_harmful", "response_refusal", "response_harmful")


def scored(*rows):
    """A batch of rows ``(score, group, game)``."""
    scores, groups, games = zip(*rows, strict=True)
    batch = Batch.of(
        "attacker", [generation((0,), (0.0,))] * len(rows), scores, games=games, groups=groups
    )
    return batch.with_(advantages=np.asarray(scores)[:, None])


def test_every_two_games_of_a_group_that_differ_are_a_pair_the_better_one_first():
    rows = [(1.0, 7, 0), (3.0, 7, 1), (1.0 + 1e-12, 7, 2), (0.0, 8, 3), (1.0, 7, 0)]
    assert pairs(scored(*rows), soft=False) == [(1, 0, 1.0), (1, 2, 1.0)]
    assert pairs(scored(*rows[:2]), soft=True) == [(1, 0, pytest.approx(1 / (1 + math.exp(-2.0))))]


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
    episode = game.finish(state, verdict)
    components = {f"{role}_0": score(answers)[role] for role in ("attacker", "defender")}
    episode = replace(episode, components=components)
    for role in ("attacker", "defender"):
        mean = 0.0
        for labels in itertools.product((True, False), repeat=3):
            share = math.prod(p if x else 1 - p for p, x in zip(chances, labels, strict=True))
            mean += share * sum(score(labels)[role].values())
        assert expected_reward(episode, f"{role}_0") == pytest.approx(mean, abs=1e-9)


def finished(components, probabilities):
    """A game that paid the defender these components under these probabilities."""
    game = Game()
    state = game.start(Seed(id="s", text="s", harmful=True), rewritten=False)
    state = game.apply(state, "x", generation=generation((0,), (0.0,)))
    answers = dict.fromkeys(FIELDS, True)
    episode = game.finish(state, Verdict(**answers, probabilities=probabilities))
    return replace(episode, components={DEFENDER: components})


def test_a_certain_judge_leaves_rewards_as_they_are_and_format_needs_no_judge():
    components = {"harm": 1.0, "refusal": -0.5, "format": 1.0}
    sure = finished(components, dict.fromkeys(FIELDS, 1.0))
    assert expected_reward(sure, DEFENDER) == 1.5
    silent = finished({"forfeit": -3.0, "format": -1.0}, {})
    assert expected_reward(silent, DEFENDER) == -4.0
    with pytest.raises(RedteamError, match="no probability of response_harmful"):
        expected_reward(finished(components, {"prompt_harmful": 1.0}), DEFENDER)


def test_a_label_that_the_game_knows_needs_no_probability():
    probabilities = {"response_refusal": 0.75}
    raw = finished({"refusal": 1.0}, probabilities)
    assert expected_reward(raw, DEFENDER, known=["prompt_harmful"]) == 0.5
    with pytest.raises(RedteamError, match="no probability of prompt_harmful"):
        expected_reward(raw, DEFENDER)


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
    assert episode.samples == (DEFENDER,)
    assert expected_reward(episode, DEFENDER) == episode.rewards[DEFENDER]
