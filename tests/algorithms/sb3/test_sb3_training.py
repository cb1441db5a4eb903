import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from sb3_fakes import WeakDefender, sb3_config
from support_chat import ChatServer

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import DummyVecEnv

import redteam_env
from algorithms.cli.train import parse_train
from algorithms.sb3.run import SeatLearner
from algorithms.sb3.vec_env import SeatGames
from algorithms.training.trainer import train
from redteam_env import RedteamError
from redteam_env.cli.main import main
from redteam_env.envs.moves import Templates
from redteam_env.judges import always
from redteam_env.wrappers import EmbeddingObservation, TacticActions

ALGORITHMS = ("sb3_ppo", "sb3_a2c", "sb3_dqn")
LOSS = {
    "sb3_ppo": "attacker/loss",
    "sb3_a2c": "attacker/value_loss",
    "sb3_dqn": "attacker/loss",
}
MORE = {"sb3_dqn": {"learning_starts": 8, "train_freq": 8, "buffer_size": 24}}


@pytest.fixture(autouse=True)
def weak(doubles):
    doubles("agents", "weak", WeakDefender)


def config(out, algorithm="sb3_ppo", **options):
    return sb3_config(out, algorithm, **MORE.get(algorithm, {}), **options)


def rows(out):
    found = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: x for k, x in row.items() if not k.startswith("time/")} for row in found]


def weights(out, step):
    return (out / f"checkpoints/step-{step:06d}/policy/policy.safetensors").read_bytes()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_has_the_houses_files_and_no_pickle(algorithm, tmp_path):
    out = tmp_path / "run"
    outcome = train(config(out, algorithm))
    assert (outcome.steps, outcome.finished, outcome.void) == (3, True, 0)
    assert [row["step"] for row in rows(out)] == [0, 1, 2]
    assert all(row["game/games"] == 16 for row in rows(out))
    assert {"attacker/move_entropy", LOSS[algorithm]} <= set(rows(out)[-1])
    games = (out / "episodes/step-000001.jsonl").read_text().splitlines()
    episodes = [redteam_env.Episode.from_json(line) for line in games]
    assert [x.path[:3] for x in episodes] == [(0, "step", 1)] * 16
    record = json.loads((out / "config.json").read_text())
    assert record["policy"]["embedder"] == "hashing"
    assert record["config"]["opponent"] == "weak"
    files = [x for x in (out / "checkpoints").rglob("*") if x.is_file()]
    assert {x.suffix for x in files} == {".json", ".safetensors"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_resumed_run_equals_one_that_was_not_cut(algorithm, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config(whole, algorithm))
    train(config(cut, algorithm, steps=2))
    train(config(cut, algorithm, resume=True))
    assert rows(cut) == rows(whole)
    assert weights(cut, 3) == weights(whole, 3)
    assert weights(cut, 3) != weights(cut, 1)


def test_another_seed_gives_another_run(tmp_path):
    train(config(tmp_path / "a", steps=1))
    train(config(tmp_path / "b", steps=1, seed=1))
    assert weights(tmp_path / "a", 1) != weights(tmp_path / "b", 1)


class Interrupting(WeakDefender):
    """Presses Ctrl-C in the middle of the second step."""

    calls = 0

    def act(self, requests):
        Interrupting.calls += 1
        if Interrupting.calls == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return super().act(requests)


def test_ctrl_c_finishes_the_step_and_saves_and_resume_goes_on(tmp_path, doubles):
    doubles("agents", "weak", Interrupting)
    out = tmp_path / "run"
    outcome = train(config(out, checkpoint_every=100))
    assert (outcome.steps, outcome.finished, outcome.interrupted) == (2, False, True)
    outcome = train(config(out, resume=True, checkpoint_every=100))
    assert (outcome.steps, outcome.played, outcome.finished) == (3, 1, True)
    train(config(tmp_path / "whole"))
    assert weights(out, 3) == weights(tmp_path / "whole", 3)


def test_a_finished_run_is_left_alone(tmp_path):
    train(config(tmp_path / "run", steps=1))
    before = weights(tmp_path / "run", 1)
    assert train(config(tmp_path / "run", steps=1, resume=True)).played == 0
    assert weights(tmp_path / "run", 1) == before


def test_resuming_with_another_embedder_behind_auto_is_refused(tmp_path, monkeypatch, doubles):
    doubles("embedders", "minilm", redteam_env.embedders.hashing)
    monkeypatch.setattr("algorithms.sb3.run.embedder_name", lambda name: "minilm")
    train(config(tmp_path / "run", steps=1, embedder="auto"))
    monkeypatch.setattr("algorithms.sb3.run.embedder_name", lambda name: "hashing")
    with pytest.raises(RedteamError, match="through the embedder 'minilm'"):
        train(config(tmp_path / "run", embedder="auto", resume=True))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"arrangement": "bipolicy", "opponent": None}, "--arrangement attacker_only"),
        ({"group_size": 2}, "compares no games of one seed"),
        ({"init_from": "elsewhere"}, "leave that out"),
        ({"seed_replay": "ucb"}, "leave that out"),
        ({"n_steps": 5}, "no multiple of n_steps = 5"),
        ({"batch_size": 5}, "no multiple of batch_size = 5"),
        ({"opponent": "weka"}, "Did you mean 'weak'"),
        ({"embedder": "hashin"}, "Did you mean 'hashing'"),
        ({"templates": "nowhere.txt"}, "Cannot read the templates"),
        ({"seeds": "advbenhc"}, "Did you mean 'advbench'"),
        ({"learning_rate": 1e30}, "Step 0: The policy diverged"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(options, reason, tmp_path):
    with pytest.raises(RedteamError, match=reason):
        train(config(tmp_path / "run", **options))
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize("algorithm", ["sb3_ppo", "sb3_a2c", "sb3_dqn"])
@pytest.mark.parametrize("value", [float("nan"), 3e38])
def test_a_network_that_gives_no_finite_scores_is_not_saved(
    algorithm, value, tmp_path, monkeypatch
):
    train(config(tmp_path / "run", algorithm, steps=1))

    class Spoilt(SeatLearner):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            learn = self.model.learn

            def spoil(*given, **options):
                learn(*given, **options)
                with torch.no_grad():
                    for tensor in self.model.policy.parameters():
                        tensor.fill_(value)

            self.model.learn = spoil

    monkeypatch.setattr("algorithms.sb3.run.SeatLearner", Spoilt)
    with pytest.raises(RedteamError, match=r"Step 1: The policy diverged .*lower --learning-rate"):
        train(config(tmp_path / "run", algorithm, steps=3, resume=True))
    kept = sorted(x.name for x in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["step-000001"]


@pytest.mark.parametrize(
    ("algorithm", "options", "reason"),
    [
        ("sb3_ppo", {"learning_rate": 0.0}, "learning_rate is 0.0"),
        ("sb3_ppo", {"gamma": 1.5}, "gamma is 1.5"),
        ("sb3_ppo", {"batch_size": 1}, "batch_size is 1"),
        ("sb3_a2c", {"most_tactics": 0}, "most_tactics is 0"),
        ("sb3_dqn", {"exploration_final": -0.1}, "exploration_final is -0.1"),
        ("sb3_dqn", {"n_steps": 4}, "Unknown training option 'n_steps'"),
        ("sb3_pop", {}, "Did you mean 'sb3_ppo'"),
    ],
)
def test_wrong_settings_are_refused_by_name(algorithm, options, reason, tmp_path):
    with pytest.raises(RedteamError, match=reason):
        sb3_config(tmp_path, algorithm, **options)


def test_without_stable_baselines_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(RedteamError, match=r"redteam-env\[sb3\]"):
        train(config(tmp_path / "run"))
    assert parse_train(["--algorithm", "sb3_dqn"]).learner.buffer_size == 10_000


def test_an_altered_checkpoint_is_not_resumed(tmp_path):
    out = tmp_path / "run"
    train(config(out, steps=1))
    file = out / "checkpoints/step-000001/optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RedteamError, match="was altered"):
        train(config(out, resume=True))


def test_the_command_trains_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = "train --algorithm sb3_a2c --arrangement defender_only --opponent template --games 8"
    assert main([*command.split(), *["--steps", "1", "--embedder", "hashing", "--out", "run"]]) == 0
    captured = capsys.readouterr()
    assert "1 of 1 steps done" in captured.out
    assert "step 1" in captured.err
    assert (tmp_path / "run/checkpoints/step-000001").is_dir()


def test_what_stable_baselines_measures_where_nothing_varies_is_logged_as_unknown(
    tmp_path, doubles
):
    doubles("judges", "constant", always)  # all games pay the same: there is nothing to explain
    train(config(tmp_path / "run", steps=1, judge="constant", benign_fraction=0, opponent="refuse"))
    assert rows(tmp_path / "run")[0]["attacker/explained_variance"] is None


def test_games_of_several_exchanges_are_played_to_the_end(tmp_path):
    train(config(tmp_path / "run", steps=1, exchanges=2, opponent="refuse"))
    games = (tmp_path / "run/episodes/step-000000.jsonl").read_text().splitlines()
    assert [len(json.loads(x)["turns"]) for x in games] == [4] * 16


@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
def test_one_game_side_by_side_is_the_wrapped_environment(seat):
    moves = Templates(["Please: {text}", "No.", "Maybe."])
    one = redteam_env.single_seat(seat, exchanges=2)
    features = EmbeddingObservation(one, "hashing").features
    ours = SeatGames([one], moves, features)
    theirs = DummyVecEnv(
        [
            lambda: EmbeddingObservation(
                TacticActions(redteam_env.single_seat(seat, exchanges=2), moves), "hashing"
            )
        ]
    )
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for env in (ours, theirs):
        env.seed(7)
    assert np.array_equal(ours.reset(), theirs.reset())
    for k in range(12):
        mine, others = (env.step(np.array([k % 3])) for env in (ours, theirs))
        for a, b in zip(mine[:3], others[:3], strict=True):
            assert np.array_equal(a, b)
        assert mine[3][0]["move"] == others[3][0]["move"]
        assert mine[3][0].get("redteam_episode") == others[3][0].get("redteam_episode")


def test_a_step_asks_the_opponent_once_for_all_games_side_by_side(tmp_path, doubles):
    asked = []

    class Counting(WeakDefender):
        def act(self, requests):
            asked.append(len(requests))
            return super().act(requests)

    doubles("agents", "weak", Counting)
    train(config(tmp_path / "run", steps=1))
    assert asked == [16]


def test_what_an_opponent_behind_an_api_took_is_logged(tmp_path):
    with ChatServer() as server:
        outcome = train(config(tmp_path / "run", steps=1, opponent=server.spec))
    (row,) = rows(tmp_path / "run")
    assert row["usage/defender/requests"] == len(server.requests) >= 16
    assert outcome.usage[0]["requests"] == len(server.requests) + len(server.probes)


def test_more_tactics_make_more_moves(tmp_path):
    settings = config(tmp_path / "run", most_tactics=2)
    names = SeatLearner(settings, "PPO", "attacker_0").describe()["move_names"]
    assert len(names) == len(set(names)) > 60
    assert "alias+story" in names or "story+alias" in names
