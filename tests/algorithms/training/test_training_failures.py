"""When something fails halfway: what is said, what is kept; and games of other shapes."""

import pytest
import torch
from training_fakes import WordJudge, metrics

from agents.lora.policy import lora
from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from algorithms.training.trainer import train
from redteam_env.game import RedteamError
from redteam_env.runs import Run


class Forgetful(WordJudge):
    """Gives one verdict too few from its second call on."""

    calls = 0

    def judge(self, dialogues):
        type(self).calls += 1
        return super().judge(dialogues)[self.calls > 1 :]


class Stateless:
    def update(self, policy, batches):
        return {}


def test_a_failing_step_is_named_and_the_last_checkpoint_is_kept(tiny_config, doubles, tmp_path):
    Forgetful.calls = 0
    doubles("judges", "forgetful", Forgetful)
    with pytest.raises(RedteamError, match=r"^Step 1: The judge 'words' gave 7 verdicts on 8"):
        train(tiny_config(judge="forgetful"))
    assert Run(tmp_path / "run").latest().step == 1
    assert len(metrics(tmp_path / "run")) == 1
    Forgetful.calls = -10
    assert train(tiny_config(judge="forgetful", resume=True)).finished


def test_weights_that_diverge_in_the_first_step_are_never_saved(tiny_config, tmp_path):
    with pytest.raises(RedteamError, match=r"^Step 0: .*lower learning rate.*--init-from"):
        train(tiny_config(lr=1e30, steps=6))
    assert Run(tmp_path / "run").latest() is None


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "A weight of 'defender' is not finite"),
        (float("inf"), "A weight of 'defender' is not finite"),
        (3e38, "Log-probabilities of the defender are not finite"),
    ],
)
def test_the_checkpoint_before_training_diverged_loads_resumes_and_scores(
    tiny_config, doubles, tmp_path, value, what
):
    class Diverging(ReinforcePP):
        Config = ReinforcePPConfig
        sound = False

        def update(self, policy, batches):
            metrics = super().update(policy, batches)
            if self._updates == 3 and not self.sound:
                with torch.no_grad():
                    for tensor in policy.parameters("defender"):
                        tensor.fill_(value)
            return metrics

    doubles("algorithms", "diverging", Diverging)
    options = {"algorithm": "diverging", "steps": 5}
    with pytest.raises(RedteamError, match=rf"^Step 2: {what}.*--init-from"):
        train(tiny_config(**options))
    assert len(metrics(tmp_path / "run")) == 2
    kept = Run(tmp_path / "run").latest()
    assert kept.step == 2
    config = tiny_config(**options, resume=True)
    policy = lora(config.policy, seed=0)
    policy.restore(kept.policy)
    messages = [{"role": "user", "content": "good train 1"}]
    for role in ("attacker", "defender"):
        found = policy.logprobs(role, [policy.encode_example(role, messages, "fine")])
        assert found.logprobs.isfinite().all()
    Diverging.sound = True
    assert train(config).finished


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda *_, **__: object(), r"'broken' is object, which has no method update\(\)"),
        (lambda config: None, r"'broken' cannot be made as factory\(config, policy"),
        (lambda *_, **__: Stateless(), r"'broken' is Stateless, which has no method state\(\)"),
    ],
)
def test_an_algorithm_that_breaks_the_protocol_is_refused_before_anything_is_written(
    tiny_config, doubles, tmp_path, factory, message
):
    doubles("algorithms", "broken", factory)
    with pytest.raises(RedteamError, match=message):
        train(tiny_config(algorithm="broken"))
    assert not (tmp_path / "run").exists()


def test_an_algorithm_of_ones_own_is_called_once_a_step_with_both_roles(tiny_config, doubles):
    seen = []

    class Own(ReinforcePP):
        Config = ReinforcePPConfig

        def update(self, policy, batches):
            seen.append({role: len(batch) for role, batch in batches.items()})
            return {"attacker/own": 1.0}

    doubles("algorithms", "own", Own)
    outcome = train(tiny_config(algorithm="own"))
    assert seen == [{"attacker": 4, "defender": 8}] * 2
    assert [row["attacker/own"] for row in metrics(outcome.directory)] == [1.0, 1.0]


def test_every_turn_of_a_longer_game_is_learnt_from(tiny_config, doubles):
    counts = []

    class Counting(ReinforcePP):
        Config = ReinforcePPConfig

        def update(self, policy, batches):
            counts.append({role: len(batch) for role, batch in batches.items()})
            return super().update(policy, batches)

    doubles("algorithms", "counting", Counting)
    outcome = train(
        tiny_config(algorithm="counting", exchanges=3, rewrite_fraction=1.0, games=4, steps=1)
    )
    assert counts == [{"attacker": 12, "defender": 12}]
    (row,) = metrics(outcome.directory)
    assert row["attacker/turns"] == row["defender/turns"] == 12


@pytest.mark.parametrize("games", [1, 2, 3])
def test_a_step_of_very_few_games_is_played_too(tiny_config, games):
    outcome = train(tiny_config(games=games, steps=1, rewrite_fraction=1.0))
    assert metrics(outcome.directory)[0]["attacker/samples"] == games


def test_half_precision_trains_on_the_cpu_too(tiny_config):
    outcome = train(tiny_config(dtype="bfloat16", lr=1e-5))
    first, second = metrics(outcome.directory)
    assert first["attacker/grad_norm"] > 0
    assert second["attacker/kl"] != first["attacker/kl"]
