"""A critic that reads both seats: what reaches it, and what it learns that others cannot."""

import zlib
from dataclasses import replace
from statistics import mean
from types import SimpleNamespace

import pytest
import torch
from table_game import MatrixJudge, TableAgent, ValuedTablePlayers
from test_algorithms_learn import BANDITS, chance, options
from training_fakes import metrics

from agents.lora.policy import lora
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env import Game, Seed, register
from redteam_env.game import RedteamError, Verdict, load_prompts
from redteam_env.protocols import Batch, DataCard, Reply
from redteam_env.registry import load
from redteam_env.rollout import role_batches, turn_request
from redteam_env.seeds import ListSource

CELLS = 1021


def cell(prompt):
    return zlib.crc32(str(prompt).encode()) % CELLS


class ReadingPlayers(ValuedTablePlayers):
    """Letters by table, and a critic that holds a number for every prompt it has read."""

    def __init__(self):
        names = {role: role for role in ("attacker", "defender")}
        super().__init__(names, {name: [[0.0] * 3] for name in ("base", *names)})
        self.heads = {
            role: torch.nn.Parameter(torch.zeros(CELLS, dtype=torch.float64)) for role in names
        }

    def agent(self, role):
        return ReadingAgent(self.tables[self.weights_of(role)].detach().clone())

    def encode_example(self, role, messages, response, *, prefill=""):
        example = super().encode_example(role, messages, response)
        return replace(example, prompt_ids=(cell(messages),))

    def values(self, role, generations):
        mask = self._logprobs(self.tables["base"].detach(), generations).mask
        cells = torch.tensor([g.prompt_ids[0] for g in generations])
        values = self.heads[role][cells][:, None].expand(mask.shape)
        return SimpleNamespace(values=torch.where(mask, values, 0.0), mask=mask)


class ReadingAgent(TableAgent):
    """Notes the prompt as it was asked."""

    def act(self, requests):
        replies = super().act(requests)
        return [
            Reply(text=x.text, generation=replace(x.generation, prompt_ids=(cell(r.messages),)))
            for x, r in zip(replies, requests, strict=True)
        ]


def one_of_each(**_):
    """One harmful and one benign seed."""
    seeds = [Seed(id=word, text=word, harmful=word == "bad") for word in ("bad", "good")]
    return ListSource(
        seeds, DataCard(name="two", licence="CC0", revision="1", sha256="", origin="")
    )


@pytest.fixture
def hidden_label(doubles, tmp_path):
    """Train a defender whose pay depends on the seed's label, which it cannot see.

    Whether the rewrite is faithful, half of the time and whatever the defender says, moves its pay by 9;
    the letter that it says moves it by 1, in the other half.
    """

    def run(algorithm, seed):
        doubles("judges", "matrix", lambda: MatrixJudge(matrix=BANDITS["defender"]))
        register("seeds", "two", one_of_each)
        given = {
            "seeds": "two",
            "rewards": "zero_sum",
            "faithfulness_gate": -9.0,
            "attacker_lr": 0.0,
            "kl": 0.0,
            "lr": 0.1,
            **({"value_lr": 2.0} if "ppo" in algorithm else {}),
            "games": 32,
            "steps": 24,
            "seed": seed,
        }
        policy = ReadingPlayers()
        config = TrainConfig.from_flat(options(algorithm, tmp_path / f"{algorithm}{seed}", **given))
        return metrics(train(config, policy=policy).directory), chance(policy, "defender", "a")

    return run


SEEDS = range(3)


def test_it_learns_what_pays_where_most_of_the_pay_hangs_on_what_the_seat_cannot_see(hidden_label):
    learnt = {}
    for algorithm in ("mappo", "ppo", "reinforce_pp", "reinforce"):
        runs = [hidden_label(algorithm, seed) for seed in SEEDS]
        learnt[algorithm] = [found for _, found in runs]
        if "ppo" in algorithm:
            explained = [rows[-1]["defender/value_explained"] for rows, _ in runs]
            # a perfect critic of what the defender sees explains nothing of a label that it does not
            assert min(explained) > 0.9 if algorithm == "mappo" else max(explained) < 0.1
    assert min(learnt["mappo"]) > 0.85
    for simpler in ("ppo", "reinforce_pp", "reinforce"):
        assert mean(learnt[simpler]) < 0.6


def game_with(thought, policy, rules):
    """A game of two exchanges, the attacker's first thought as given, the defender's turns sampled."""
    state = rules.start(Seed(id="s", text="bad", harmful=True), rewritten=True)
    for text in (f"<think>{thought}</think><answer>hi</answer>", "again"):
        state = rules.apply(state, text)
        (reply,) = policy.agent("defender").act([turn_request(rules, state, (0, "game", 0))])
        state = rules.apply(state, "ok", generation=reply.generation)
    verdict = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=False)
    return role_batches([rules.finish(state, verdict)])["defender"]


@pytest.mark.parametrize("arrangement", ["shared", "bipolicy"])
def test_thoughts_of_the_other_seat_and_the_seed_reach_the_critic_and_nobody_else(
    tiny_config, arrangement
):
    config = tiny_config(arrangement=arrangement)
    policy = lora(config.policy, seed=0)
    rules = Game(exchanges=2, prompts=load_prompts(config.game.prompts))
    policy.value_parameters("defender")[0].data.fill_(1.0)
    read = {}
    for algorithm in ("mappo", "ppo"):
        factory = load("algorithms", algorithm)
        learner = factory(factory.Config(), policy=policy, game=rules, seed=0)
        for thought in ("dog", "cat"):
            batch = game_with(thought, policy, rules)
            seen = learner.seen(policy, batch)
            prompts = [policy.codec.decode(x.prompt_ids) for x in seen.generations]
            values = policy.values("defender", seen.generations).values
            read[algorithm, thought] = prompts, values.detach()
            assert [x.completion_ids for x in seen.generations] == [
                x.completion_ids for x in batch.generations
            ]
            for own in batch.generations:
                assert thought not in policy.codec.decode(own.prompt_ids)
    first, second = read["mappo", "dog"][0]
    assert "dog" in first
    assert "bad" in first
    assert "again" not in first  # nothing of what comes later
    assert "again" in second
    assert torch.equal(read["ppo", "dog"][1], read["ppo", "cat"][1])
    assert not torch.allclose(read["mappo", "dog"][1], read["mappo", "cat"][1])


def test_a_batch_of_tokens_alone_is_refused():
    policy = ReadingPlayers()
    factory = load("algorithms", "mappo")
    learner = factory(factory.Config(), policy=policy, game=Game(), seed=0)
    generations = [policy.encode_example("attacker", [], "a")]
    with pytest.raises(RedteamError, match=r"MAPPO reads whole games.*tokens alone"):
        learner.update(policy, {"attacker": Batch.of("attacker", generations, [1.0])})


def test_rules_too_long_for_one_prompt_are_refused_before_anything_is_played(tiny_config):
    policy = lora(tiny_config(max_prompt_tokens=300).policy, seed=0)
    factory = load("algorithms", "mappo")
    with pytest.raises(RedteamError, match="instructions alone are longer than max_prompt_tokens"):
        factory(factory.Config(), policy=policy, game=Game(), seed=0)
