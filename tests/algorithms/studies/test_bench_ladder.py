"""The ladder: rungs of known order, what they break, and what is said of how they came out."""

import numpy as np
import pytest
from bench_fakes import with_options
from table_game import MatrixJudge, players

from algorithms.cli.bench import LADDER, QUICK
from algorithms.studies.bench.cells import cells
from algorithms.studies.bench.config import BenchConfig
from algorithms.studies.bench.ladder import RUNGS, check_ladder, is_ladder, register
from algorithms.studies.bench.leaderboard import improvement
from algorithms.studies.bench.page import ladder_lines
from algorithms.studies.bench.resolution import climbed, resolution
from algorithms.studies.bench.scores import DEFENCE, Scores
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.evaluation.power import detectable_difference, seeds_needed

NAMES = [rung.name for rung in RUNGS]
CONFIG = BenchConfig(**{**LADDER, "seeds": 5})


@pytest.fixture
def rungs():
    with registry.isolated():
        register(NAMES)
        yield {name: registry.load("algorithms", name) for name in NAMES}


def test_rungs_are_registered_only_where_they_are_asked_for(rungs):
    assert set(NAMES) <= set(registry.names("algorithms"))
    with registry.isolated():
        assert [x.reason for x in cells(CONFIG)] == [None] * len(NAMES)


def test_rungs_are_no_installed_plug_ins():
    assert not set(NAMES[1:]) & set(registry.names("algorithms"))


def found(means, deviation=0.02, seeds=5):
    rng = np.random.default_rng(0)
    return {
        f"{name}.bipolicy": {
            DEFENCE: Scores(tasks=("all",), values=rng.normal(mean, deviation, (seeds, 1)))
        }
        for name, mean in zip(NAMES, means, strict=True)
    }


def outcome(means, config=CONFIG, **options):
    scores = found(means, **options)
    return climbed(config, improvement(config, scores, DEFENCE), scores, DEFENCE)


def test_a_ladder_in_its_order_is_climbed():
    result = outcome([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert result["faults"] == []
    assert [x["label"] for x in result["rungs"]] == NAMES
    assert "is in its order" in ladder_lines({"ladder": result})[-1]


def test_neighbours_may_be_too_close_to_tell_apart():
    assert outcome([0.6, 0.599, 0.4, 0.399, 0.2, 0.199])["faults"] == []


def test_rungs_two_apart_that_are_not_told_apart_are_a_fault():
    faults = outcome([0.6, 0.5, 0.4, 0.3, 0.3, 0.3], deviation=0.05)["faults"]
    assert f"{NAMES[3]}.bipolicy is not told apart from {NAMES[5]}.bipolicy" in faults


def test_a_wrong_order_is_a_fault_and_is_said():
    result = outcome([0.6, 0.5, 0.3, 0.4, 0.2, 0.1])
    assert result["faults"] == [f"{NAMES[2]}.bipolicy is worse than {NAMES[3]}.bipolicy"]
    assert "not in its order" in ladder_lines({"ladder": result})[-1]


def test_a_missing_score_is_a_fault():
    scores = found([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    del scores["no_rate.bipolicy"][DEFENCE]
    result = climbed(CONFIG, improvement(CONFIG, scores, DEFENCE), scores, DEFENCE)
    assert "no_rate.bipolicy and turned_sign.bipolicy lack scores to compare" in result["faults"]
    assert len(result["faults"]) == 5
    assert any(line.startswith("no_rate") for line in ladder_lines({"ladder": result}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--arrangements bipolicy,attacker_only", "'attacker_only' trains no defender"),
        ("--algorithms grpo,ppo", "'grpo,ppo', which is not the ladder"),
        ("--seeds 3", "seeds is 3; the ladder needs at least 4"),
    ],
)
def test_a_ladder_that_could_not_be_climbed_is_refused_before_it_is_run(
    options, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with registry.isolated():
        assert main(["bench", "ladder", *options.split()]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_ladder_under_its_defaults_is_accepted():
    check_ladder(CONFIG)
    check_ladder(BenchConfig(**{**QUICK, **LADDER}))


def with_seeds(seeds):
    return BenchConfig(**{**LADDER, "seeds": seeds})


def test_only_the_whole_ladder_is_one():
    assert is_ladder(CONFIG)
    assert not is_ladder(with_options(algorithms="reinforce_pp,no_rate"))


def test_the_resolution_is_that_of_the_rungs_that_learn():
    scores = found([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], deviation=0.05)
    for name in NAMES[3:]:  # the fourth learns, but lies at the end of the scale
        scores[f"{name}.bipolicy"][DEFENCE].values[:] = 0
    result = resolution(CONFIG, scores, DEFENCE)
    learn = [scores[f"{name}.bipolicy"][DEFENCE].values.std(ddof=1) for name in NAMES[:3]]
    assert result["deviation"] == pytest.approx(np.sqrt(np.mean(np.square(learn))))
    assert result["smallest"] == detectable_difference(result["deviation"], 5)
    assert result["seeds_for_half"] == seeds_needed(result["smallest"] / 2, result["deviation"])
    one = found([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], seeds=1)
    assert resolution(with_seeds(1), one, DEFENCE) is None


def test_quick_is_a_benchmark_that_can_be_run():
    config = BenchConfig(**{**QUICK, "algorithms": "reinforce_pp,grpo"})
    assert [x.reason for x in cells(config)] == [None, None]
    assert config.panel_runs == ("half_trained",)


BANDIT = ((1, 1, 1), (0, 0, 0), (0, 0, 0))
"""Harm: the attacker's first letter pays, whatever the defender says."""


def learnt(name, out):
    """How often the attacker says the letter that pays, after a few steps."""
    policy = players()
    options = {
        "judge": "matrix",
        "seeds": "words",
        "rewards": "safety_only",
        "rewrite_fraction": 1.0,
    }
    sizes = {"steps": 12, "games": 16, "lr": 0.4, "checkpoint_every": 100, "json": True}
    config = TrainConfig.from_flat({**options, **sizes, "algorithm": name, "out": str(out / name)})
    train(config, policy=policy)
    return float(policy.tables["attacker"][0].detach().softmax(-1)[0])


def test_each_rung_learns_less_than_the_whole_algorithm(rungs, doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=BANDIT))
    found = {name: learnt(name, tmp_path) for name in rungs}
    assert all(found["reinforce_pp"] > x for name, x in found.items() if name != "reinforce_pp")
    assert found["no_rate"] == pytest.approx(1 / 3)
    assert found["turned_sign"] < 0.1
    assert found["half_shuffled"] > found["no_rate"] + 0.2
    assert found["tenth_of_the_rate"] > found["no_rate"] + 0.05
