"""What a benchmark accepts, which cells it runs, and that results of two manifests never mix."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_doubles import CONFIG, with_options

from algorithms.bench.command import open_bench
from algorithms.bench.config import BenchConfig, cells, check_parts, listed, manifest_of
from algorithms.bench.tasks import able, tasks
from redteam_env import RedteamError, register
from redteam_env.cli.main import main

OUT = Path("unused")


def test_every_run_of_a_benchmark_plays_the_same_games():
    configs = [CONFIG.options(cell, 1, OUT) for cell in able(CONFIG)]
    assert len({(x.game, x.run.games, x.run.group_size, x.run.steps) for x in configs}) == 1
    assert {x.run.seed for x in configs} == {1}
    assert {x.policy.model for x in configs} == {"apothecary"}


def test_a_budget_is_spent_in_whole_steps():
    assert BenchConfig(budget=640, games=64, response_budget=128).steps == 10
    response = with_options(response_budget=192).response(Path("run"), 0, OUT)
    assert response.run.steps == 3
    assert (response.policy.arrangement, response.run.opponent) == ("attacker_only", "run")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 32}, "less than one step of 64"),
        ({"budget": 100}, "no whole number of steps.*64"),
        ({"response_budget": 32}, "response_budget is 32, less than one step"),
        ({"seeds": 0}, "seeds is 0"),
        ({"budget": 0}, "budget is 0"),
        ({"suite_games": 6}, "multiple of 4"),
        ({"suites": " "}, "suites is empty"),
        ({"panel_attackers": ","}, "panel_attackers is empty"),
    ],
)
def test_impossible_numbers_are_refused(options, says):
    with pytest.raises(RedteamError, match=says):
        BenchConfig(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"algorithms": "grpoo"}, r"grpoo.*did you mean.*grpo"),
        ({"algorithms": "grpo+psroo"}, r"psroo.*did you mean.*psro"),
        ({"arrangements": "bipolcy"}, r"bipolcy.*did you mean.*bipolicy"),
        ({"algorithms": "grpo", "group_size": 1}, "at least 2"),
        ({"algorithms": ","}, "name at least one of each"),
        ({"settings": "lr"}, "NAME=VALUE"),
        ({"settings": "lrr=1"}, r"lrr.*did you mean.*lr"),
        ({"settings": "lr=fast"}, "lr"),
    ],
)
def test_unknown_names_and_settings_are_refused_before_anything_is_run(options, says):
    with pytest.raises(RedteamError, match=rf"(?i){says}"):
        cells(with_options(**options))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"suites": "apothecary_k11"}, "apothecary_k1"),
        ({"panel_attackers": "bas"}, "base"),
        ({"panel_defenders": "no/such/run/here"}, "no/such"),
    ],
)
def test_unknown_suites_and_players_are_refused(options, says):
    with pytest.raises(RedteamError, match=says):
        check_parts(with_options(**options))


def test_settings_reach_the_algorithms_that_know_them():
    config = with_options(settings="lr=1e-3, rank=4,clip=0.3", algorithms="reinforce_pp,reinforce")
    first, second = (
        config.options(cell, 0, OUT) for cell in cells(config) if cell.arrangement == "bipolicy"
    )
    assert first.learner.lr == second.learner.lr == 1e-3
    assert first.policy.rank == second.policy.rank == 4
    assert first.learner.clip == 0.3
    assert not hasattr(second.learner, "clip")


def test_a_cell_that_cannot_be_run_is_marked_with_the_reason(monkeypatch):
    class OneSeat:
        from algorithms.reinforce import Reinforce

        Config = Reinforce.Config
        arrangements = ("attacker_only",)

    monkeypatch.setattr("redteam_env.registry._local", {})
    register("algorithms", "one_seat", OneSeat)
    config = with_options(algorithms="one_seat,grpo", arrangements="bipolicy,attacker_only")
    found = {cell.name: cell.reason for cell in cells(config)}
    assert found["one_seat.bipolicy"] == "one_seat trains attacker_only only"
    assert [name for name, reason in found.items() if reason] == ["one_seat.bipolicy"]
    with pytest.raises(RedteamError, match="No cell can be run"):
        cells(with_options(algorithms="one_seat", arrangements="bipolicy"))


def test_every_need_of_a_task_is_made_by_an_earlier_one():
    made = set()
    every = tasks(CONFIG, able(CONFIG))
    for task in every:
        assert set(task.needs) <= made, task.title
        made.add(task.output)
    assert len(made) == len(every)


def test_without_a_response_budget_no_fresh_attacker_is_trained():
    config = with_options(response_budget=0)
    assert {x.kind for x in tasks(config, able(config))} == {"train", "measure", "rate"}


def test_a_list_names_each_thing_once():
    assert listed("a, b,,a ") == ["a", "b"]


def test_workers_and_places_do_not_decide_results():
    elsewhere = replace(CONFIG, out="elsewhere", to="there", workers=7, json=True)
    assert manifest_of(elsewhere) == manifest_of(CONFIG)
    assert manifest_of(with_options(measure_seed=1))["digest"] != manifest_of(CONFIG)["digest"]


def test_results_of_different_manifests_are_never_mixed(tmp_path):
    file = tmp_path / "bench" / "bench.json"
    open_bench(file, manifest_of(CONFIG))
    open_bench(file, manifest_of(CONFIG))
    with pytest.raises(RedteamError, match=r"options\.seeds: 2 there, 3 now"):
        open_bench(file, manifest_of(with_options(seeds=3)))


def test_a_manifest_edited_by_hand_is_refused(tmp_path):
    file = tmp_path / "bench" / "bench.json"
    open_bench(file, manifest_of(CONFIG))
    data = json.loads(file.read_text())
    data["options"]["seeds"] = 3
    file.write_text(json.dumps(data))
    with pytest.raises(RedteamError, match="edited by hand"):
        open_bench(file, manifest_of(with_options(seeds=3)))


def test_the_panels_weights_are_part_of_the_manifest(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "adapter_model.safetensors").write_bytes(b"one")
    config = with_options(panel_attackers=f"base,{run}")
    before = manifest_of(config)
    (run / "adapter_model.safetensors").write_bytes(b"two")
    assert manifest_of(config)["weights"] != before["weights"]


def test_a_wrong_option_of_the_command_is_one_line(capsys):
    assert main(["bench", "--budget", "10"]) == 2
    assert "less than one step" in capsys.readouterr().err
