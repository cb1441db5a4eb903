"""A run that ends when its tokens are spent: after a whole step, resumable, its league's games counted."""

import json

import pytest
import torch
from training_fakes import PowerCutError, contents, metrics

from algorithms.training.config import TrainConfig
from algorithms.training.metrics import sampled_before, step_tokens
from algorithms.training.trainer import train
from redteam_env.game import Episode, RedteamError
from redteam_env.runs import Run

FOLDERS = ("checkpoints", "episodes")


@pytest.fixture
def run(tiny_options, tmp_path):
    def start(name="run", **more):
        options = {**tiny_options, "steps": 6, "checkpoint_every": 20, **more}
        out = {"out": str(tmp_path / name), "resume": True}
        return train(TrainConfig.from_flat({**options, **out}))

    return start


def spent(directory):
    return [step_tokens(row) for row in metrics(directory)]


def test_a_run_ends_after_the_first_step_that_reaches_its_tokens(run):
    whole = run("whole")
    each = spent(whole.directory)
    budget = int(sum(each[:2])) + 1
    cut = run("cut", max_tokens=budget)
    assert (cut.steps, cut.played, cut.finished) == (3, 3, True)
    assert spent(cut.directory) == each[:3]
    assert contents(cut.directory, "episodes") == {
        name: data
        for name, data in contents(whole.directory, "episodes").items()
        if name < "episodes/step-000003"
    }
    exact = run("exact", max_tokens=int(sum(each[:2])))
    assert exact.steps == 2


def test_what_is_counted_is_what_was_sampled(run):
    directory = run().directory
    episodes = [
        Episode.from_json(line)
        for file in (directory / "episodes").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    sampled = sum(len(t.generation.completion_ids) for e in episodes for t in e.turns)
    assert sampled == sampled_before(Run(directory), 6) > sampled_before(Run(directory), 5) > 0


def test_a_run_whose_tokens_are_spent_has_nothing_left_to_do_until_it_may_sample_more(run):
    budget = int(sum(spent(run("whole").directory)[:2]))
    run("cut", max_tokens=budget)
    again = run("cut", max_tokens=budget)
    assert (again.steps, again.played, again.finished) == (2, 0, True)
    torch.manual_seed(3)
    on = run("cut")
    assert (on.steps, on.played) == (6, 4)
    whole = contents(on.directory.parent / "whole", "episodes")
    assert contents(on.directory, "episodes") == whole


def test_a_run_cut_before_its_tokens_are_spent_ends_as_one_that_was_not(run, crash_at):
    more = {"judge": "fragile", "checkpoint_every": 2}
    budget = int(sum(spent(run("whole", **more).directory)[:3])) + 1
    whole = run("budget", max_tokens=budget, **more)
    crash_at(4)
    with pytest.raises(PowerCutError):
        run("cut", max_tokens=budget, **more)
    crash_at(None)
    torch.manual_seed(2)
    cut = run("cut", max_tokens=budget, **more)
    assert (cut.steps, cut.played, cut.finished) == (4, 2, True)
    assert contents(cut.directory, *FOLDERS) == contents(whole.directory, *FOLDERS)


def test_the_games_of_a_league_count_too(run):
    psro = {"opponents": "psro", "round_steps": 2, "payoff_games": 4, "rewrite_fraction": 0.75}
    directory = run(**psro).directory
    rows = metrics(directory)
    assert [row.get("league/games", 0) for row in rows] == [4, 12, 0, 20, 0, 28]
    assert all((row.get("league/tokens", 0) > 0) == ("league/games" in row) for row in rows)
    budget = int(rows[0]["game/tokens"]) + 1
    assert run("short", max_tokens=budget, **psro).steps == 1


def test_a_negative_number_of_tokens_is_refused(run):
    with pytest.raises(RedteamError, match=r"max_tokens is -1; give a whole number >= 0"):
        run(max_tokens=-1)


def test_an_algorithm_of_stable_baselines_is_ended_by_its_opponents_tokens(tmp_path, tiny_options):
    pytest.importorskip("stable_baselines3")
    own = {"algorithm": "sb3_a2c", "arrangement": "attacker_only", "resume": True}
    names = ("games", "json", "seeds", "judge", "prompts", "model", "max_new_tokens")
    kept = {name: tiny_options[name] for name in names}
    config = {**kept, **own, "steps": 4, "rewrite_fraction": 1.0}
    whole = train(TrainConfig.from_flat({**config, "out": str(tmp_path / "whole")})).directory
    each = spent(whole)
    assert min(each) > 0
    options = {**config, "max_tokens": int(each[0]) + 1, "out": str(tmp_path / "cut")}
    for played in (2, 0):
        outcome = train(TrainConfig.from_flat(options))
        assert (outcome.steps, outcome.played, outcome.finished) == (2, played, True)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["config"]["max_tokens"]


def test_a_run_that_logged_no_tokens_cannot_be_limited(run):
    directory = run("old", steps=2).directory
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["game/tokens"]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RedteamError, match=r"logged no tokens.*--out"):
        run("old", steps=2, max_tokens=5)
