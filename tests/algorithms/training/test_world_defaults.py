"""One word for a world: what it sets, what wins over it, and what is refused."""

import json
import re
from pathlib import Path

import pytest

import redteam_env
from algorithms import TrainConfig, train
from algorithms.cli.train import parse_train
from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.protocols import WorldOptions
from redteam_env.worlds import world_options
from redteam_env.worlds.apothecary.levels import LEVELS

ROOT = Path(redteam_env.__file__).parents[1]
SHORT = {"steps": 1, "games": 8, "rewrite_fraction": 1.0}


def flat(**options):
    return TrainConfig.from_flat({"world": "apothecary", **options}).flat()


@pytest.fixture
def mine():
    """A function that registers a world ``mine`` for one test."""
    with registry.isolated():
        yield lambda **parts: registry.register("worlds", "mine", lambda: WorldOptions(**parts))


def test_a_world_sets_everything_and_an_explicit_option_wins():
    brought = world_options("apothecary")
    assert brought.items() <= flat().items()
    changed = flat(model="elsewhere", rank=2, judge="lexical", mix_worlds=True)
    assert changed["model"] == "elsewhere"
    assert (changed["rank"], changed["callback"], changed["judge"]) == (2, None, "lexical")
    assert changed["seeds"] == "apothecary"


def test_what_only_the_worlds_judge_can_serve_goes_with_it():
    with pytest.raises(RedteamError, match=r"'lexical' in 'english': they do not fit each other"):
        flat(judge="lexical")
    assert flat(judge="apothecary")["callback"] == "exact"
    assert flat(judge="lexical", callback="novelty", mix_worlds=True)["callback"] == "novelty"


@pytest.mark.parametrize("world", LEVELS)
def test_the_command_means_the_same_as_python(world):
    own = {"rank": 4, "arrangement": "shared", "algorithm": "grpo", "group_size": 4}
    words = ["--rank", "4", "--arrangement", "shared", "--algorithm", "grpo", "--group-size", "4"]
    python = TrainConfig.from_flat({"world": world, **own})
    assert parse_train(["--world", world, *words]) == python
    assert python.policy.model == python.game.prompts == world


@pytest.mark.parametrize("empty", ["", "None"])
def test_a_command_can_leave_the_callbacks_of_a_world_out(empty):
    assert not parse_train(["--world", "apothecary", "--callback", empty]).callbacks


def test_a_rate_for_both_roles_is_not_refined_by_the_worlds_rate_of_one():
    assert flat(lr=1e-5, kl=0.0)["attacker_kl"] is None
    config = parse_train(["--world=apothecary", "--kl=0.1", "--entropy-bonus=0.1"])
    assert config.learner.of_role("kl", "attacker") == 0.1


def test_what_an_algorithm_or_arrangement_cannot_have_is_left_out():
    own_loop = flat(algorithm="sb3_ppo", arrangement="attacker_only")
    assert own_loop["callback"] is None
    assert "attacker_lr" not in own_loop
    assert flat(arrangement="shared_full")["lr"] < flat()["lr"]


def test_the_options_of_a_configuration_make_the_same_configuration():
    config = TrainConfig.from_flat({"world": "apothecary", "lr": 1e-5, "callback": "exact"})
    assert TrainConfig.from_flat(json.loads(json.dumps(config.flat()))) == config


@pytest.mark.parametrize("call", [flat, redteam_env.parallel_env, redteam_env.env])
def test_an_unknown_world_is_refused_with_the_known_ones(call):
    with pytest.raises(RedteamError, match=r"world 'apothecarry'.*apothecary") as caught:
        call(world="apothecarry")
    assert "apothecary-coupled" in str(caught.value)


@pytest.mark.parametrize("command", ["train", "evaluate base", "crossplay base", "play"])
def test_every_command_refuses_an_unknown_world_in_one_line(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "--world", "nowhere"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "nowhere" in line
    assert "apothecary" in line
    assert not list(tmp_path.iterdir())


def test_a_worlds_own_slip_is_named(mine):
    mine(options={"seed_source": "builtin"})
    with pytest.raises(RedteamError, match="option of the world 'mine' 'seed_source'"):
        TrainConfig.from_flat({"world": "mine"})
    registry.register("worlds", "mine", lambda: {"seeds": "builtin"})
    with pytest.raises(RedteamError, match=r"world 'mine' is dict.*WorldOptions"):
        TrainConfig.from_flat({"world": "mine"})


def test_a_registered_world_trains_with_its_arrangement(mine):
    parts = {"options": {"arrangement": "shared", "rank": 3, "lr": 1e-3}}
    mine(**parts, arrangements={"shared": {"lr": 1e-4}, "bipolicy": {"rank": 5}})
    shared = TrainConfig.from_flat({"world": "mine"})
    assert (shared.arrangement, shared.policy.rank, shared.learner.lr) == ("shared", 3, 1e-4)
    both = TrainConfig.from_flat({"world": "mine", "arrangement": "bipolicy"})
    assert (both.policy.rank, both.learner.lr) == (5, 1e-3)


def test_an_environment_of_a_world_speaks_its_language_and_pays_its_rewards():
    env = redteam_env.parallel_env(world="apothecary", rewrite_fraction=1.0)
    _, infos = env.reset(seed=1)
    (told, asked) = (x["content"] for x in infos["attacker_0"]["messages"])
    assert told.startswith("attacker ")
    assert env.session.judge.decode(asked) is not None
    assert (
        env.session.game.rewards.faithfulness_gate
        == world_options("apothecary")["faithfulness_gate"]
    )
    raw = redteam_env.parallel_env(world="apothecary", judge="lexical", mix_worlds=True)
    assert raw.session.judge.name.startswith("lexical")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("world") / "run"
    train(world="apothecary", out=str(place), json=True, **SHORT)
    return place


def test_a_run_keeps_the_worlds_name_and_every_value_and_goes_on_without_them(run):
    stored = json.loads((run / "config.json").read_text())["config"]
    assert {**world_options("apothecary"), **SHORT}.items() <= stored.items()
    again = parse_train(["--resume", "--out", str(run), "--steps", "2"])
    assert again.flat() == {**stored, "out": str(run), "resume": True, "steps": 2, "json": False}
    assert main(["train", "--resume", "--out", str(run), "--steps", "2", "--json"]) == 0
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all("game/form_alias" in row for row in rows)


def test_evaluation_takes_the_world_of_a_run_or_the_one_that_is_named(run, capsys):
    assert main(["evaluate", str(run), "--games", "4", "--json"]) == 0
    of_run = json.loads(capsys.readouterr().out)["settings"]
    words = ["base", "--world", "apothecary", "--games", "4", "--json"]
    assert main(["evaluate", *words]) == 0
    named = json.loads(capsys.readouterr().out)["settings"]
    assert of_run == named
    assert named["world"] == named["model"] == named["seeds"] == named["judge"] == "apothecary"
    assert named["max_new_tokens"] == world_options("apothecary")["max_new_tokens"]


def test_every_command_of_the_guide_that_names_a_world_is_understood():
    page = (ROOT / "examples" / "guide" / "training.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^(?:redteam-env|.venv/bin/redteam-env) train (.*--world.*)$", page, re.MULTILINE
    )
    assert lines
    for line in lines:
        assert parse_train(line.split()).game.world is not None
