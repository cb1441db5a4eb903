"""Every algorithm trains a real model in every arrangement, resumes to the bit, and refuses bad input."""

import dataclasses
import json
import math

import numpy as np
import pytest
from table_game import MatrixJudge, TablePlayers, players
from test_algorithm_references import GAMES, START, batch, made
from test_algorithms_learn import BUILT_IN, DOMINANCE, options
from tiny_models import save_tiny
from training_fakes import PowerCutError, contents, metrics

from agents.lora.config import WEIGHTS
from algorithms.speed.advantages import advantage_seconds
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError, Verdict
from redteam_env.registry import load

GROUPED = [name for name in BUILT_IN if getattr(load("algorithms", name), "least_group", 1) > 1]
HEADS = "policy/value_heads.safetensors"
VALUED = {"mappo": "MAPPO", "ppo": "PPO"}


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "smallest", scale=0.15, layers=1)


@pytest.fixture
def make(tiny_options, smallest, tmp_path):
    def config(algorithm, **more):
        small = {"model": str(smallest), "rank": 2, "max_new_tokens": 4, "rewrite_fraction": 1.0}
        grouped = {"group_size": 2 if algorithm in GROUPED else 1, "algorithm": algorithm}
        out = {"out": str(tmp_path / "run"), "checkpoint_every": 2}
        return TrainConfig.from_flat({**tiny_options, **small, **grouped, **out, **more})

    return config


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_every_algorithm_trains_every_arrangement(make, algorithm, arrangement):
    outcome = train(make(algorithm, arrangement=arrangement, games=4))
    assert outcome.finished
    rows = metrics(outcome.directory)
    assert len(rows) == 2
    moved = [v for name, v in rows[0].items() if name.endswith("/grad_norm")]
    assert len(moved) == len(set(WEIGHTS[arrangement].values()) - {"base"})
    assert max(moved) > 0
    heads = outcome.directory / "checkpoints/step-000002" / HEADS
    assert heads.exists() == (algorithm in VALUED)


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_a_run_cut_and_resumed_equals_one_that_was_not(make, crash_at, tmp_path, algorithm):
    more = {"steps": 4, "judge": "fragile", "epochs": 2, "minibatch": 4, "warmup_steps": 3}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(make(algorithm, out=str(whole), **more))
    crash_at(4)
    with pytest.raises(PowerCutError):
        train(make(algorithm, out=str(cut), **more))
    crash_at(None)
    assert train(make(algorithm, out=str(cut), resume=True, **more)).played == 2
    assert metrics(cut) == metrics(whole)
    assert contents(cut, "checkpoints", "episodes") == contents(whole, "checkpoints", "episodes")
    state = json.loads((whole / "checkpoints/step-000004/state.json").read_text())["algorithm"]
    assert bool(state["ema"]) == (algorithm in {"rae", "reinforce_pp"})


@pytest.mark.parametrize("algorithm", GROUPED)
def test_groups_of_one_are_refused_before_anything_is_written(make, tmp_path, capsys, algorithm):
    with pytest.raises(RedteamError, match=rf"{algorithm} compares.*--group-size 2 or more"):
        train(make(algorithm, group_size=1))
    assert main(["train", "--algorithm", algorithm, "--out", str(tmp_path / "run")]) == 2
    assert "group_size is 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("games", "size", "named"), [(8, 3, "give 6"), (4, 8, "give 8")])
def test_games_that_do_not_divide_into_groups_are_refused(games, size, named):
    with pytest.raises(RedteamError, match=rf"games is {games}, no multiple.*{size}; {named}"):
        RunConfig(games=games, group_size=size)
    with pytest.raises(RedteamError, match="group_size is 0; give a whole number >= 1"):
        RunConfig(group_size=0)


def test_the_games_of_a_group_share_the_seed_and_not_the_sampling(make):
    outcome = train(make("grpo", steps=1, games=12, group_size=3, rewrite_fraction=1.0))
    lines = (outcome.directory / "episodes/step-000000.jsonl").read_text().splitlines()
    episodes = [json.loads(line) for line in lines]
    assert [x["group"] for x in episodes] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for k in range(0, 12, 3):
        group = episodes[k : k + 3]
        assert len({x["seed"]["id"] for x in group}) == 1
        assert len({tuple(x["turns"][0]["generation"]["prompt_ids"]) for x in group}) == 1
        assert len({x["turns"][0]["text"] for x in group}) > 1


@pytest.mark.parametrize("reward", [math.nan, math.inf])
@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_a_reward_that_is_not_finite_stops_training_and_names_the_game(algorithm, reward):
    learner, policy = made("dpo" if algorithm == "online_dpo" else algorithm)
    games = {role: batch(role) for role in GAMES}
    rewards = [reward if k == 1 else 1.0 for k in range(len(games["defender"]))]
    games["defender"] = games["defender"].with_(rewards=np.asarray(rewards))
    with pytest.raises(RedteamError, match=r"[Gg]ame.* 1.*not finite.*init-from"):
        learner.update(policy, games)
    assert policy.rows("defender") == START["defender"]
    assert learner.state().tensors == {}
    assert learner.state().values == {"updates": 0, "ema": {}}


@pytest.mark.parametrize("algorithm", GROUPED)
def test_a_group_that_was_paid_alike_teaches_nothing(doubles, tmp_path, algorithm):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((1,) * 3,) * 3))
    policy = players()
    more = {"steps": 2, "kl": 1e-9, "rewards": "safety_only"}
    train(TrainConfig.from_flat(options(algorithm, tmp_path / "run", **more)), policy=policy)
    for name in ("attacker", "defender"):
        assert policy.tables[name].abs().max() < 1e-6


@pytest.mark.parametrize("algorithm", GROUPED)
def test_void_games_leave_their_group(doubles, tmp_path, algorithm):
    class Half(MatrixJudge):
        def judge(self, dialogues):
            found = super().judge(dialogues)
            return [v if k % 4 < 1 or k > 7 else Verdict(error="no") for k, v in enumerate(found)]

    doubles("judges", "matrix", lambda: Half(matrix=DOMINANCE))
    config = TrainConfig.from_flat(options(algorithm, tmp_path / "run", steps=2))
    outcome = train(config, policy=players())
    assert outcome.void == 12
    assert [row["attacker/samples"] for row in metrics(outcome.directory)] == [10, 10]


@pytest.mark.parametrize("algorithm", VALUED)
def test_a_critic_refuses_a_policy_without_value_heads(doubles, tmp_path, algorithm):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))
    tables = {name: [[0.0] * 3] for name in ("attacker", "defender", "base")}
    policy = TablePlayers({"attacker": "attacker", "defender": "defender"}, tables)
    config = TrainConfig.from_flat(options(algorithm, tmp_path / "run"))
    needs = rf"{VALUED[algorithm]} needs.*TablePlayers lacks values.*ValuedPolicy"
    with pytest.raises(RedteamError, match=needs):
        train(config, policy=policy)
    assert not (tmp_path / "run").exists()


def test_judged_preferences_without_probabilities_are_refused(doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))
    more = {"preference": "judge", "rewards": "safety_only"}
    config = TrainConfig.from_flat(options("online_dpo", tmp_path / "run", **more))
    with pytest.raises(RedteamError, match=r"Step 0: .*no probability of response_harmful"):
        train(config, policy=players())


BAD = {
    "rae": ({"ema_decay": 1.0}, {"ema_decay": -0.1}),
    "grpo": ({"clip": 0.0}, {"importance_cap": 0.0}, {"importance_cap": math.nan}),
    "dr_grpo": ({"length_norm": 0.0}, {"clip": -1.0}),
    "ppo": ({"gae_lambda": 1.1}, {"value_lr": 0.0}, {"value_epochs": 0}),
    "mappo": ({"clip": 0.0}, {"gae_lambda": -0.1}),
    "online_dpo": ({"kl": 0.0}, {"attacker_kl": 0.0}),
}


@pytest.mark.parametrize(
    ("algorithm", "given"), [(name, given) for name, all_ in BAD.items() for given in all_]
)
def test_a_setting_out_of_range_is_refused_by_name(algorithm, given):
    (name,) = given
    with pytest.raises(RedteamError, match=rf"{name} is .*give"):
        load("algorithms", algorithm).Config(**given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"pair_loss": "kto"}, r"'kto'.*dpo, ipo"),
        ({"preference": "coin"}, r"'coin'.*judge, order|'coin'.*order, judge"),
        ({"importance_cap": 2.0}, "importance_cap is 2.0, but online_dpo's loss is of pairs"),
        ({"defender_entropy_bonus": 0.1}, "defender_entropy_bonus is 0.1, but online_dpo"),
    ],
)
def test_settings_that_online_dpo_does_not_have_are_refused(given, named):
    with pytest.raises(RedteamError, match=named):
        load("algorithms", "online_dpo").Config(**given)


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_the_help_explains_every_option_with_its_default(algorithm, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--algorithm", algorithm, "--help-all"])
    shown = " ".join(capsys.readouterr().out.translate({ord(c): " " for c in "│╭╮╰╯─"}).split())
    for field in dataclasses.fields(load("algorithms", algorithm).Config):
        option = f"--{field.name.replace('_', '-')} "
        _, _, after = shown.partition(option)
        assert after, option
        text = after.partition(" --")[0]
        default = "none" if field.default is None else field.default
        assert f"(default: {default})" in text, text
        assert len(text.partition("(default")[0].split()) > 4, text


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_advantages_are_timed_without_a_model(algorithm):
    assert advantage_seconds(algorithm, 100, length=10) > 0
