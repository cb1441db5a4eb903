"""Whole runs with every sampler: who is trained, and that a cut run equals one that was not."""

import json

import pytest
import torch
from safetensors.torch import load_file
from training_fakes import CallbackJudge, PowerCutError, contents, metrics

from algorithms.cli.train import parse_train
from algorithms.opponents.psro import PSROConfig
from algorithms.training.config import SELF_PLAY, TrainConfig
from algorithms.training.league import check_league
from algorithms.training.trainer import train
from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.evaluation import AgentPool
from redteam_env.game import Episode, RedteamError
from redteam_env.protocols import Match, Reply
from redteam_env.runs import Run, read_league

FIVE_STEPS = {"steps": 5, "checkpoint_every": 2, "rewrite_fraction": 0.75}
FICTITIOUS = {"opponents": "fictitious", "snapshot_every": 1, "history": 2, **FIVE_STEPS}
PSRO = {"opponents": "psro", "round_steps": 2, "payoff_games": 4, **FIVE_STEPS}
CUT = [
    ("alternating", {"arrangement": "shared", "block": 3}),
    ("fictitious", {"snapshot_every": 1, "history": 2}),
    ("prioritised", {"arrangement": "shared", "snapshot_every": 1, "history": 2}),
    ("psro", {"round_steps": 3, "payoff_games": 4}),
    ("psro", {"arrangement": "shared", "round_steps": 1, "payoff_games": 2, "history": 2}),
    ("population", {"members": 3, "member_steps": 1, "rating_games": 2}),
    ("population", {"arrangement": "shared", "members": 2, "member_steps": 2, "rating_games": 2}),
]
"""So that the checkpoint that a run goes on from lies within a block, a round or a generation."""

FOLDERS = ("checkpoints", "episodes", "opponents")


@pytest.fixture
def options(tiny_options, tmp_path):
    def make(opponents, name="run", **more):
        own = {**tiny_options, **FIVE_STEPS}
        return TrainConfig.from_flat(
            {**own, "opponents": opponents, "out": str(tmp_path / name), **more}
        )

    return make


@pytest.fixture
def crash_at_step(doubles):
    """Let the judge crash in the games of a step; returns the switch."""
    state = {"step": None, "seen": -1}

    class Fragile(CallbackJudge):
        def judge(self, dialogues):
            if (
                state["step"] is not None and len(dialogues) == 8
            ):  # a step's games, not the league's
                state["seen"] += 1
                if state["seen"] == state["step"]:
                    raise PowerCutError
            return super().judge(dialogues)

    doubles("judges", "fragile", Fragile)

    def switch(step):
        state.update(step=step, seen=-1)

    return switch


def episodes(run):
    for file in sorted((run / "episodes").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            yield Episode.from_json(line)


@pytest.mark.parametrize(("opponents", "settings"), CUT)
def test_a_cut_run_ends_as_one_that_was_not(options, tmp_path, crash_at_step, opponents, settings):
    more = {**settings, "judge": "fragile", "steps": 4}
    crash_at_step(None)
    whole = train(options(opponents, "whole", **more)).directory
    crash_at_step(3)
    with pytest.raises(PowerCutError):
        train(options(opponents, "cut", **more))
    assert [row["step"] for row in metrics(tmp_path / "cut")] == [0, 1, 2]
    crash_at_step(None)
    torch.manual_seed(2)
    outcome = train(options(opponents, "cut", resume=True, **more))
    assert outcome.played == 2
    assert contents(tmp_path / "cut", *FOLDERS) == contents(whole, *FOLDERS)
    assert metrics(tmp_path / "cut") == metrics(whole)


def test_the_default_is_self_play_which_leaves_no_league_behind(options, tiny_config, two_steps):
    named = train(options(SELF_PLAY, "named", steps=2, checkpoint_every=1, rewrite_fraction=0.5))
    assert contents(named.directory, *FOLDERS) == contents(two_steps, *FOLDERS)
    assert metrics(named.directory) == metrics(two_steps)
    assert not (two_steps / "opponents").exists()
    assert not list(two_steps.rglob("league.json"))


@pytest.mark.parametrize("league", [FICTITIOUS, PSRO], ids=lambda x: x["opponents"])
def test_games_name_the_versions_that_played_them(finished, league):
    run = finished(**league)
    met = set()
    for episode in episodes(run):
        step = episode.path[2]
        for turn in episode.turns:
            role = turn.seat.removesuffix("_0")
            assert turn.generation.adapter == role
            assert turn.generation.version <= step
            if turn.generation.version < step:
                met.add(role)
    assert met == {"attacker", "defender"}


def test_only_the_turns_of_learners_are_trained_on(options, doubles):
    from algorithms.opponents.self_play import SelfPlay

    seen = []

    class OneSided(SelfPlay):
        def matches(self, step, rewritten):
            return [
                Match(players=self._weights, learners=("attacker",) if k % 2 else ())
                for k, _ in enumerate(rewritten)
            ]

        def finish(self, step, results):
            seen.extend(results)
            return {}

    doubles("opponents", "one_sided", OneSided)
    run = train(options("one_sided", steps=1, rewrite_fraction=1.0)).directory
    row = metrics(run)[0]
    assert (row["attacker/samples"], row["defender/samples"]) == (4, 0)
    assert len(seen) == 8
    first, last = (
        load_file(
            run / "checkpoints" / "step-000001" / "policy" / name / "adapter_model.safetensors"
        )
        for name in ("attacker", "defender")
    )
    assert any(x.any() for key, x in first.items() if "lora_B" in key)
    assert not any(x.any() for key, x in last.items() if "lora_B" in key)


@pytest.mark.parametrize("opponents", ["alternating"])
def test_the_role_that_does_not_learn_keeps_its_weights(options, opponents):
    run = train(options(opponents, block=2, steps=4, checkpoint_every=2)).directory

    def weights(step, name):
        folder = run / "checkpoints" / f"step-00000{step}" / "policy" / name
        return (folder / "adapter_model.safetensors").read_bytes()

    assert weights(2, "attacker") == weights(4, "attacker")
    assert weights(2, "defender") != weights(4, "defender")


@pytest.mark.parametrize("arrangement", ["shared_full", "independent"])
def test_whole_models_have_a_past_too(options, arrangement):
    run = train(
        options("psro", arrangement=arrangement, steps=2, round_steps=1, payoff_games=2)
    ).directory
    name = "shared" if arrangement == "shared_full" else "attacker"
    assert sorted(x.name for x in (run / "opponents").glob(f"{name}@*")) == [
        f"{name}@{k}" for k in range(3)
    ]
    first, last = (
        load_file(run / "opponents" / f"{name}@{k}" / "model.safetensors") for k in (0, 2)
    )
    assert any(not torch.equal(first[key], last[key]) for key in first)


def test_the_payoff_matrix_is_in_the_checkpoint_as_json(finished):
    run = finished(**PSRO)
    record = json.loads((run / "checkpoints" / "step-000005" / "league.json").read_text())
    table = record["state"]
    assert table["attackers"] == ["attacker@0", "attacker@2", "attacker@4"]
    assert [len(row) for row in table["payoffs"]["attacker"]] == [3, 3, 3]
    assert sum(table["meta"]["defender"]) == pytest.approx(1.0)
    assert metrics(run)[3]["league/attacker_versions"] == 3
    assert [row["league/payoff_games"] for row in metrics(run)] == [4, 12, 0, 20, 0]


def test_seed_replay_resumes_too(options, tmp_path, crash_at_step):
    more = {"seed_replay": "ucb", "replay_share": 0.5, "judge": "fragile"}
    crash_at_step(None)
    whole = train(options(SELF_PLAY, "whole", **more)).directory
    crash_at_step(3)
    with pytest.raises(PowerCutError):
        train(options(SELF_PLAY, "cut", **more))
    crash_at_step(None)
    train(options(SELF_PLAY, "cut", resume=True, **more))
    assert contents(tmp_path / "cut", *FOLDERS) == contents(whole, *FOLDERS)
    plain = train(options(SELF_PLAY, "plain", judge="fragile")).directory
    assert contents(plain, "episodes") != contents(whole, "episodes")


@pytest.mark.parametrize("arrangement", ["attacker_only", "defender_only"])
def test_a_league_with_one_trained_seat_is_refused(options, arrangement):
    with pytest.raises(RedteamError, match=r"psro.*needs two trained seats.*--opponent"):
        options("psro", arrangement=arrangement)


def test_an_unknown_sampler_is_refused_with_the_nearest_name(options):
    with pytest.raises(RedteamError, match="Did you mean 'psro'"):
        options("pslo")


def test_a_samplers_settings_are_options_of_train(capsys):
    config = parse_train(["--opponents", "psro", "--round-steps", "7", "--seed-replay", "ucb"])
    assert config.sampler == PSROConfig(round_steps=7)
    assert config.flat()["round_steps"] == 7
    assert config.replay.seed_replay == "ucb"
    with pytest.raises(SystemExit):
        main(["train", "--opponents=population", "--help-all"])
    shown = capsys.readouterr().out
    assert "--members" in shown
    assert "--round-steps" not in shown


def test_a_run_that_ends_within_the_first_round_is_refused(options):
    with pytest.raises(RedteamError, match="first round ends after 3 steps, but steps is 2; give"):
        options("psro", steps=2, round_steps=3)
    assert options("psro", steps=3, round_steps=3).run.steps == 3


def test_settings_of_another_sampler_are_refused(options):
    with pytest.raises(RedteamError, match="round_steps"):
        options("fictitious", round_steps=3)


@pytest.mark.parametrize(
    ("flat", "processes", "own_loop", "named"),
    [
        ({"opponents": "psro"}, 2, False, "one process, not in 2"),
        ({"opponents": "psro"}, 1, True, "--opponents psro"),
        ({"seed_replay": "ucb"}, 1, True, "--seed-replay ucb"),
        ({"init_from": "nowhere"}, 1, False, "'nowhere', which is no directory"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(flat, processes, own_loop, named):
    config = TrainConfig.from_flat(flat)
    with pytest.raises(RedteamError, match=named):
        check_league(config, processes=processes, own_loop=own_loop)


def test_a_sampler_that_lets_a_frozen_version_learn_is_refused(options, doubles):
    from algorithms.opponents.self_play import SelfPlay

    class Confused(SelfPlay):
        def matches(self, step, rewritten):
            players = {**self._weights, "attacker": "attacker@0"}
            return [Match(players=players, learners=("attacker",)) for _ in rewritten]

    doubles("opponents", "confused", Confused)
    with pytest.raises(RedteamError, match="only current weights learn"):
        train(options("confused"))


def test_a_policy_without_a_past_is_refused_by_name(options, doubles):
    from table_game import players

    assert "psro" in registry.names("opponents")
    with pytest.raises(RedteamError, match=r"--opponents psro needs .*LeaguePolicy"):
        train(options("psro", round_steps=1), policy=players())


@pytest.mark.parametrize("arrangement", [{}, {"arrangement": "shared"}])
def test_the_mixture_that_psro_ended_with_plays_by_name(finished, two_steps, capsys, arrangement):
    run = finished(**PSRO, **arrangement)
    mixture = f"mixture:{run}"
    found = ["--attackers", mixture, "--defenders", str(run), mixture]
    assert main(["crossplay", *found, "--games", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert mixture in json.dumps(report["result"])
    with pytest.raises(RedteamError, match="has no mixture"):
        AgentPool().agent(f"mixture:{two_steps}", "attacker")


def test_a_callback_may_not_take_a_trained_role_from_a_league(options):
    class Says:
        def act(self, requests):
            return [Reply(text="c") for _ in requests]

    class Takes:
        def agent(self, role, setups):
            return Says() if role == "defender" else None

    with pytest.raises(RedteamError, match="plays the defender, but --opponents fictitious does"):
        train(options("fictitious", steps=1), callbacks=[Takes()])


def test_a_named_checkpoint_keeps_the_versions_it_needs(options):
    class Keeper:
        def on_start(self, run):
            self.run = run

        def on_update(self, step, row):
            if step == 1:
                self.run.save("mine")

    config = options("fictitious", snapshot_every=1, history=1, steps=5)
    run = Run(train(config, callbacks=[Keeper()]).directory)
    needed = read_league(run.checkpoint_path("mine"))["versions"]
    assert needed
    assert all((run.opponents_folder / name).is_dir() for name in needed)
