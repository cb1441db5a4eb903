"""What a run leaves behind: metrics, episodes, configuration; nothing that needs pickle."""

import itertools
import json
import math
import pickletools
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_fakes import CallbackJudge, WordJudge, metrics, words_source

from agents.lora.policy import lora
from agents.scripted import REFUSAL
from algorithms.training.metrics import episode_metrics
from algorithms.training.trainer import train
from redteam_env.game import Episode, Game, GameConfig, RedteamError, Verdict
from redteam_env.protocols import Reply
from redteam_env.registry import resolve_agent
from redteam_env.rollout import play, schedule
from redteam_env.worlds import build_game

BOTH = ("reward", "kl", "entropy", "length", "format_violations", "samples", "grad_norm", "lr")


def episodes(run, step: int) -> list[Episode]:
    lines = (run / "episodes" / f"step-{step:06d}.jsonl").read_text().splitlines()
    return [Episode.from_json(line) for line in lines]


def test_metrics_hold_exactly_one_row_a_step_with_both_roles(two_steps):
    rows = metrics(two_steps)
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert row["game/games"] == 8
        assert row["game/void"] == 0
        for role in ("attacker", "defender"):
            for name in BOTH:
                value = row[f"{role}/{name}"]
                assert isinstance(value, int | float), f"{role}/{name}"
                assert math.isfinite(value)
    assert abs(rows[0]["attacker/kl"]) < 1e-6
    assert abs(rows[0]["defender/kl"]) < 1e-6
    assert rows[1]["attacker/kl"] != rows[0]["attacker/kl"]


def test_the_row_says_what_the_episodes_of_the_step_say(two_steps):
    for step, row in enumerate(metrics(two_steps)):
        games = episodes(two_steps, step)
        assert len(games) == row["game/games"]
        for seat in ("attacker_0", "defender_0"):
            role = seat[:-2]
            paid = [e.rewards[seat] for e in games if seat in e.samples]
            assert row[f"{role}/reward"] == pytest.approx(sum(paid) / len(paid))
            lengths = [
                len(t.generation.completion_ids) for e in games for t in e.turns if t.seat == seat
            ]
            assert row[f"{role}/length"] == pytest.approx(sum(lengths) / len(lengths))
            parts = sum(v for k, v in row.items() if k.startswith(f"{role}/component/"))
            assert parts == pytest.approx(row[f"{role}/reward"])


def test_episodes_replay_and_carry_the_version_of_the_weights_that_played(two_steps, prompts):
    game = build_game(GameConfig(prompts=str(prompts)))
    for step in (0, 1):
        for number, episode in enumerate(episodes(two_steps, step)):
            assert game.replay(episode) == episode
            assert episode.path == (0, "step", step, "game", number)
            for turn in episode.turns:
                assert turn.generation.version == step
                assert turn.generation.adapter == turn.seat[:-2]


def test_tensorboard_shows_the_same_numbers(two_steps):
    board = EventAccumulator(str(two_steps / "tensorboard")).Reload()
    for name in ("attacker/reward", "defender/kl", "game/void"):
        shown = {event.step: event.value for event in board.Scalars(name)}
        assert shown == pytest.approx(
            {row["step"]: row[name] for row in metrics(two_steps)}, abs=1e-6
        )


def test_the_configuration_holds_all_that_is_needed_to_repeat_the_run(two_steps, tiny_model):
    record = json.loads((two_steps / "config.json").read_text())
    assert record["schema"] == 1
    config = record["config"]
    assert (config["arrangement"], config["rank"], config["games"]) == ("bipolicy", 4, 8)
    assert (config["lr"], config["kl"], config["seeds"]) == (1e-3, 0.01, "words")
    assert config["model"] == str(tiny_model)
    assert set(record["versions"]) >= {"python", "redteam-env", "torch", "transformers", "peft"}
    assert all(record["versions"].values())
    assert "git" in record
    assert len(record["policy"]["base_fingerprint"]) == 16
    assert set(record["policy"]["trainable_parameters"]) == {"attacker", "defender"}
    assert record["seeds"]["name"] == "words"
    assert record["seeds"]["licence"] == "CC0"
    assert record["judge"] == {"name": "words", "smoke_only": True}
    assert record["prompts"]["digest"]


@pytest.mark.parametrize("options", [{}, {"arrangement": "shared_full", "steps": 1}])
def test_no_file_of_a_run_is_a_pickle(finished, options):
    files = [path for path in finished(**options).rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert not zipfile.is_zipfile(path), "torch.save writes a zip with a pickle in it"
        with pytest.raises(ValueError):  # noqa: PT011 - every pickletools error is one
            list(pickletools.genops(path.read_bytes()))


def test_the_record_names_the_defaults_of_the_settings_that_have_another_value(two_steps):
    record = json.loads((two_steps / "config.json").read_text())
    config, defaults = record["config"], record["replaced_defaults"]
    assert defaults["steps"] == 200
    assert config["steps"] == 2
    assert all(config[name] != default for name, default in defaults.items())
    assert {"kl", "out", "config"}.isdisjoint(defaults)


def test_void_games_are_counted_and_not_learnt_from(tiny_config, doubles, tmp_path):
    class HalfBroken(WordJudge):
        def verdict(self, dialogue):
            if len(dialogue.response) % 2:
                return Verdict(judge=self.name, error="no answer")
            return super().verdict(dialogue)

    doubles("judges", "half", HalfBroken)
    outcome = train(tiny_config(judge="half", void_steps=0))
    rows = metrics(tmp_path / "run")
    assert outcome.void == sum(row["game/void"] for row in rows) > 0
    for step, row in enumerate(rows):
        games = episodes(tmp_path / "run", step)
        assert row["game/void"] == sum(e.void is not None for e in games)
        assert row["defender/samples"] == sum(e.void is None for e in games)


def test_a_step_of_void_games_only_is_one_row_and_changes_nothing(tiny_config, doubles, tmp_path):
    class Broken(WordJudge):
        def verdict(self, dialogue):
            return Verdict(judge=self.name, error="no answer")

    doubles("judges", "broken", Broken)
    config = tiny_config(judge="broken", steps=1, void_steps=0)
    policy = lora(config.policy, seed=0)
    assert train(config, policy=policy).finished
    (row,) = metrics(tmp_path / "run")
    assert row["game/void"] == 8
    assert row["attacker/reward"] is None
    assert row["defender/samples"] == 0
    assert policy.store.versions == {"base": 0, "attacker": 0, "defender": 0}


def test_an_attacker_that_refuses_to_attack_shows_in_its_own_rate(tiny_config, tmp_path):
    class Refusing:
        """A policy whose attacker refuses whatever it samples."""

        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def agent(self, role):
            return self if role == "attacker" else self._inner.agent(role)

        def act(self, requests):
            replies = self._inner.agent("attacker").act(requests)
            return [Reply(text=REFUSAL, generation=r.generation) for r in replies]

    config = tiny_config(steps=1)
    train(config, policy=Refusing(lora(config.policy, seed=0)))
    assert metrics(tmp_path / "run")[0]["attacker/refusal_to_attack"] == 1.0


@pytest.mark.parametrize(("attacker", "rate"), [("refuse", 1.0), ("echo", 0.0), ("template", 0.0)])
def test_refusing_to_attack_is_measured_on_rewritten_games_only(attacker, rate):
    setups = schedule(words_source(), 8, path=(0,))
    agents = {
        "attacker_0": resolve_agent(attacker, "attacker"),
        "defender_0": resolve_agent("comply", "defender"),
    }
    played = play(setups, agents, WordJudge())
    row = episode_metrics(played, Game().seats)
    assert row["attacker/refusal_to_attack"] == rate
    assert row["attacker/turns"] == 4
    scripted = episode_metrics(played, Game().seats, scripted={e.group: "attacker" for e in played})
    assert scripted["game/games"] == 8
    assert scripted["attacker/refusal_to_attack"] is scripted["game/attack_success"] is None
    assert (scripted["attacker/turns"], scripted["defender/turns"]) == (0, 8)
    raw_only = episode_metrics([e for e in played if not e.rewritten], Game().seats)
    assert raw_only["attacker/refusal_to_attack"] is None


@pytest.mark.parametrize(
    ("rewards", "signal"),
    [((1, 1, 1, 1), 0), ((0.3, 0.1 + 0.2, 0.3, -1), 0.25), ((1, 2, 3, 4), 0.75), ((), None)],
)
def test_the_signal_is_the_share_of_games_that_do_not_pay_the_most_common_reward(rewards, signal):
    setups = schedule(words_source(), 4, path=(0,), rewrite_fraction=1.0)
    agents = {
        "attacker_0": resolve_agent("echo", "attacker"),
        "defender_0": resolve_agent("comply", "defender"),
    }
    played = play(setups, agents, WordJudge())[: len(rewards)]
    paid = [
        replace(e, samples=("defender_0",), rewards={**e.rewards, "defender_0": reward})
        for e, reward in zip(played, rewards, strict=True)
    ]
    row = episode_metrics(paid, Game().seats)
    assert row["defender/signal"] == signal
    assert row["attacker/signal"] is None


def test_broken_thinking_shows_as_format_violations_and_forfeits(tiny_config, tmp_path):
    train(tiny_config(thinking="required", steps=1))
    (row,) = metrics(tmp_path / "run")
    assert row["attacker/format_violations"] == row["attacker/forfeits"] == 1.0
    assert row["attacker/reward"] < 0
    assert row["attacker/samples"] == 4


def test_unfaithful_rewrites_are_gated_and_dropped_as_asked(tiny_config, tmp_path):
    train(tiny_config(steps=1, games=16, faithfulness_gate=-3.0, drop_unfaithful=True))
    rewritten = [e for e in episodes(tmp_path / "run", 0) if e.rewritten]
    unfaithful = [e for e in rewritten if e.verdict.prompt_harmful != e.seed.harmful]
    assert 0 < len(unfaithful) < len(rewritten)
    for episode in rewritten:
        dropped = episode in unfaithful
        assert (episode.rewards["attacker_0"] == -3.0) == dropped
        assert ("defender_0" in episode.samples) != dropped


def test_after_a_crash_tensorboard_shows_each_step_once(
    tiny_config, doubles, tmp_path, monkeypatch
):
    # files of one second and process are read in the order of their numbers' digits: 10 before 9
    numbers = SimpleNamespace(get=itertools.count(1).__next__)
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer._global_uid", numbers)
    calls = []

    def crash():
        calls.append(None)
        if len(calls) == 3:
            raise RuntimeError("power cut")

    doubles("judges", "fragile", lambda: CallbackJudge(before=crash))
    options = {"judge": "fragile", "steps": 3, "checkpoint_every": 5}
    with pytest.raises(RedteamError, match="RuntimeError: power cut"):
        train(tiny_config(**options))
    train(tiny_config(**options, resume=True))
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("defender/reward")] == [0, 1, 2]
