"""Algorithms that a stranger writes: an entropy bonus, two losses, a critic over both seats."""

import numpy as np
import pytest
import torch
from policy_updates import play, snapshot, update
from table_game import MatrixJudge, ValuedTablePlayers, players
from test_algorithms_learn import DOMINANCE, chance, options
from training_fakes import metrics

from algorithms import PolicyGradient, PolicyGradientConfig, train
from algorithms.core.losses import score_function
from algorithms.reinforce import Reinforce
from redteam_env import register
from redteam_env.game import role_of


@pytest.fixture
def run(doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def start(algorithm, policy=None, **more):
        register("algorithms", "own", algorithm)
        policy = policy or players()
        given = options("own", tmp_path / algorithm.__name__, **{"steps": 4, "kl": 0.0, **more})
        return train(policy=policy, **given), policy

    return start


class EntropyBonus(Reinforce):
    """REINFORCE with a bonus of 100 nats for each nat of entropy."""

    forward = {"with_entropy": True}  # noqa: RUF012 - read only

    def loss(self, batch):
        return super().loss(batch) - 100 * batch.entropy[batch.mask].sum()


def test_an_entropy_bonus_makes_a_sure_policy_less_so(run):
    chances = {}
    for algorithm in (Reinforce, EntropyBonus):
        sure = players()
        for name in ("attacker", "defender"):
            sure.tables[name].data += torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64)
        before = chance(sure, "defender", "a")
        run(algorithm, sure, steps=8)
        chances[algorithm] = chance(sure, "defender", "a")
    assert chances[Reinforce] > before - 0.05
    assert chances[EntropyBonus] < before - 0.2


def test_case_c2_an_entropy_bonus_changes_the_gradient_of_a_model(tiny_config):
    policy = _model(tiny_config)
    generations = _generations(policy)
    parameters = list(policy.parameters("attacker"))
    found = policy.logprobs("attacker", generations, with_entropy=True)
    loss = found.logprobs.sum()
    plain = torch.autograd.grad(loss, parameters, retain_graph=False, allow_unused=True)
    found = policy.logprobs("attacker", generations, with_entropy=True)
    loss = found.logprobs.sum() - 100 * found.entropy[found.mask].sum()
    bonus = torch.autograd.grad(loss, parameters, allow_unused=True)
    apart = [float((a - b).abs().max()) for a, b in zip(plain, bonus, strict=True) if a is not None]
    assert max(apart) > 1e-3


class Asked(ValuedTablePlayers):
    """Notes whether gradients of the entropy were asked for."""

    def logprobs(self, role, generations, *, with_entropy=False, **more):
        self.wanted = {*getattr(self, "wanted", ()), (role, with_entropy)}
        return super().logprobs(role, generations, with_entropy=with_entropy, **more)


@pytest.mark.parametrize("bonus", [0.0, 0.1])
def test_gradients_of_the_entropy_are_asked_for_where_there_is_a_bonus(run, bonus):
    tables = {name: [[0.0] * 3] for name in ("base", "attacker", "defender")}
    policy = Asked({"attacker": "attacker", "defender": "defender"}, tables)
    run(Reinforce, policy, defender_entropy_bonus=bonus)
    asked = {turn for turn in policy.wanted if turn[1]}
    assert asked == ({("defender", True)} if bonus else set())


def test_the_setting_changes_what_a_model_learns(tiny_config):
    policies = []
    for bonus in (0.0, 1.0):
        policies.append(_model(tiny_config))
        update(policies[-1], "attacker", entropy_bonus=bonus)
    plain, bonus = (snapshot(policy, "attacker") for policy in policies)
    assert any(not torch.equal(a, b) for a, b in zip(plain, bonus, strict=True))


class TwoLosses(PolicyGradient):
    """Two losses from one forward pass, each with a backward pass of its own."""

    Config = PolicyGradientConfig
    forward = {"differentiable": "twice"}  # noqa: RUF012 - read only

    def advantages(self, batches):
        return {role: x.rewards[:, None] * x.mask for role, x in batches.items()}

    def loss(self, batch):
        return score_function(batch.logprobs, batch.advantages, batch.tokens)

    def accumulate(self, policy, minibatch, log):
        whole = sum(map(self.denominator, minibatch.values()))
        for batch in self.passes(policy, minibatch):
            for loss in (self.loss(batch), (batch.logprobs**2 * batch.mask).sum()):
                (0.5 * loss / whole).backward(retain_graph=True)
            log.tokens(batch)


class OneLoss(TwoLosses):
    """The same as one sum."""

    def accumulate(self, policy, minibatch, log):
        whole = sum(map(self.denominator, minibatch.values()))
        for batch in self.passes(policy, minibatch):
            both = self.loss(batch) + (batch.logprobs**2 * batch.mask).sum()
            (0.5 * both / whole).backward()
            log.tokens(batch)


def test_two_losses_from_one_pass_are_their_sum(run, tiny_config):
    _, one = run(OneLoss)
    _, two = run(TwoLosses)
    for name in ("attacker", "defender"):
        assert torch.allclose(one.tables[name], two.tables[name], atol=1e-12)
    policy = _model(tiny_config)
    found = policy.logprobs("attacker", _generations(policy), differentiable="twice")
    parameters = list(policy.parameters("attacker"))
    parts = [
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for loss in (found.logprobs.sum(), (found.logprobs**2).sum())
    ]
    whole = torch.autograd.grad(
        found.logprobs.sum() + (found.logprobs**2).sum(), parameters, allow_unused=True
    )
    for a, b, both in zip(*parts, whole, strict=True):
        assert both is None or torch.allclose(a + b, both, atol=1e-4)


class CentralCritic(PolicyGradient):
    """A baseline that sees what both seats said: the mean reward of each pair of first tokens."""

    Config = PolicyGradientConfig

    def __init__(self, config, *, policy, game, seed):
        super().__init__(config, policy=policy, game=game, seed=seed)
        self.seen = []

    def advantages(self, batches):
        result = {}
        for role, batch in batches.items():
            said = [self._first_tokens(batch, k, batches) for k in range(len(batch))]
            means = {
                pair: np.mean([r for r, s in zip(batch.rewards, said, strict=True) if s == pair])
                for pair in set(said)
            }
            self.seen.append((role, set(said)))
            overall = batch.rewards.mean()
            values = np.asarray([means[pair] - overall for pair in said])
            self.note(role, pairs=len(means))
            result[role] = values[:, None] * batch.mask
        return result

    def _first_tokens(self, batch, k, batches):
        """Join both seats' tokens by game, through the episodes and through the rows."""
        episode = batch.episodes[batch.episode_index[k]]
        spoken = {role_of(x.seat): x.generation.completion_ids[0] for x in episode.turns}
        for role, other in batches.items():
            (row,) = np.flatnonzero(other.episode_index == batch.episode_index[k])
            assert other.generations[row].completion_ids[0] == spoken[role]
        assert episode.verdict is not None
        return tuple(spoken[role] for role in sorted(spoken))

    def loss(self, batch):
        return score_function(batch.logprobs, batch.advantages, batch.tokens)


def test_a_critic_sees_both_seats_of_each_game(run):
    outcome, policy = run(CentralCritic, steps=12)
    rows = metrics(outcome.directory)
    assert rows[0]["attacker/pairs"] == rows[0]["defender/pairs"] > 4
    assert chance(policy, "defender", "a") > 0.5


def _model(tiny_config):
    from agents.lora.policy import lora

    policy = lora(tiny_config().policy, seed=0)
    with torch.no_grad():
        for tensor in policy.parameters("attacker"):
            tensor.add_(0.02)
    return policy


def _generations(policy):
    return play(policy, "attacker").generations
