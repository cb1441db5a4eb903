"""The command ``train``: its options, its output, and what it says to wrong values."""

import dataclasses
import json
import subprocess
import sys

import pytest
from training_fakes import contents, metrics

from agents.lora.config import WEIGHTS
from algorithms.cli.train import parse_train
from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.utils.argv import commanded


def run_main(words) -> int:
    """The exit code, whether the command returned it or its parser raised it."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def plain(text: str) -> str:
    """A message without the box that some are drawn in."""
    return " ".join(text.translate({ord(c): " " for c in "│╭╮╰╯─"}).split())


WRONG = {
    "--steps 0": "steps is 0; give a whole number >= 1",
    "--steps many": "--steps INT",
    "--games -1": "games is -1; give a whole number >= 1",
    "--checkpoint-every 0": "checkpoint_every is 0; give a whole number >= 1",
    "--seed pi": "--seed INT",
    "--arrangement both": "'bipolicy', 'shared', 'shared_full', 'independent'",
    "--algorithm nope": "Unknown algorithm 'nope'. Allowed: dr_grpo, grpo, mappo, online_dpo, ppo, rae, reinforce, reinforce_pp, rloo",
    "--algorithm grpo": "--group-size 2 or more",
    "--group-size 3": "games is 8, no multiple of group_size = 3",
    "--importance-cap 0": "importance_cap is 0.0; give a finite number > 0",
    "--seeds nope": "Unknown seed source 'nope'. Allowed: advbench, apothecary, builtin, file, harmbench, hub",
    "--judge nope": "Unknown judge 'nope'. Allowed: always, apothecary",
    "--judge lexical --judge-url http://127.0.0.1:1": "takes no url",
    "--judge wildguard": "--judge-url http://127.0.0.1:8000",
    "--judge wildguard --judge-url http://127.0.0.1:1/classify": "No server answers at http://127",
    "--judge wildguard --judge-url localhost": "give an http or https address",
    "--rewards nope": "'nope'. Allowed: magic, safety_only, self_redteam",
    "--faithfulness-gate nan": "faithfulness_gate is nan",
    "--rewrite-fraction 2": "rewrite_fraction is 2.0; give a finite number in [0, 1]",
    "--benign-fraction -1": "benign_fraction is -1.0; give a finite number in [0, 1]",
    "--exchanges 0": "exchanges is 0",
    "--thinking maybe": "none, optional, required",
    "--prompts /no/where": "attacker_harmful.txt",
    "--max-seed-chars 5": "Seed 'train-bad-0' has 11 characters, over the limit of 5",
    "--model nope": "Unknown model 'nope'",
    "--rank 0": "rank is 0; give a whole number >= 1",
    "--rank 1.5": "--rank INT",
    "--alpha 0": "alpha is 0",
    "--targets no_such_layer": "no_such_layer",
    "--dropout 1": "dropout is 1.0; give a finite number in [0, 1)",
    "--max-new-tokens 0": "max_new_tokens is 0",
    "--max-new-tokens 4000": "leaves no room for a prompt in the context of 2048 tokens",
    "--max-prompt-tokens 30": "max_prompt_tokens = 30",
    "--temperature 0": "give a number above 0",
    "--temperature -1": "temperature is -1.0; give a finite number >= 0",
    "--generation-batch 0": "generation_batch is 0",
    "--device tpu": "Allowed: auto, cpu, cuda, cuda:N",
    "--dtype int8": "'auto', 'float32', 'bfloat16'",
    "--lr -1": "lr is -1.0; give a finite number >= 0",
    "--baseline mean": "'role', 'batch', 'ema', 'none'",
    "--clip 0": "clip is 0.0; give a finite number > 0",
    "--epochs 0": "epochs is 0",
    "--micro-batch 0": "micro_batch is 0",
    "--sft-file /no/where.jsonl": "/no/where.jsonl",
    "--arrangement attacker_only --rewrite-fraction 0": "has nothing to train",
    "--no-such-option 1": "--no-such-option",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_says_what_is_allowed_and_writes_nothing(arguments, tmp_path, capsys, wrong):
    assert run_main(arguments(*wrong.split())) == 2
    captured = capsys.readouterr()
    assert WRONG[wrong] in plain(captured.err)
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (("empty.csv", ""), "empty.csv"),
        (("no_rows.csv", "text,harmful\n"), "no_rows.csv"),
        (("columns.csv", "words,harmful\nhello,no\n"), "has no column 'text'"),
        (("long.csv", f"text,harmful\n{'x' * 1500},yes\ny,no\n"), "1500 characters"),
        (("one_sided.csv", "text,harmful,split\nhello,no,train\n"), "no harmful seed"),
    ],
)
def test_a_faulty_seed_file_is_found_out_before_anything_is_written(
    arguments, tmp_path, capsys, file, message
):
    name, content = file
    (tmp_path / name).write_text(content)
    assert run_main(arguments(seeds=str(tmp_path / name))) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert message in error
    assert not (tmp_path / "run").exists()


def test_one_seed_over_the_limit_among_many_is_found_out_before_training(
    arguments, tmp_path, capsys
):
    rows = [f"a request {k},{'yes' if k % 2 else 'no'},train" for k in range(40)]
    long = f"{'long ' * 20},yes,train"
    (tmp_path / "seeds.csv").write_text("\n".join(["text,harmful,split", *rows, long]))
    words = arguments(seeds=str(tmp_path / "seeds.csv"), max_seed_chars=50, games=2)
    assert run_main(words) == 2
    assert "over the limit of 50" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_instructions_over_the_limit_are_found_out_before_anything_is_written(
    arguments, tmp_path, capsys
):
    assert run_main(arguments(prompts=None, max_prompt_tokens=150)) == 2
    assert "instructions alone are longer than max_prompt_tokens = 150" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_prints_where_it_is_and_how_to_go_on(arguments, tmp_path, capsys):
    assert main(arguments(json=False, steps=1)) == 0
    captured = capsys.readouterr()
    assert "1 of 1 steps done, 0 void games" in captured.out
    assert f"crossplay {tmp_path / 'run'} base" in captured.out.replace("\n", "")
    model, begun, step = captured.err.splitlines()
    assert model.startswith("Model: ")
    assert "cpu, float32, backend hf. Trained: attacker, defender." in model
    assert begun.startswith("Training: steps 1 to 1")
    assert step.startswith("step 1/1 · attack success ")


def test_json_is_one_object_on_stdout_and_nothing_else(arguments, tmp_path, capsys):
    assert main(arguments(steps=1)) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "run": str(tmp_path / "run"),
        "steps": 1,
        "played": 1,
        "finished": True,
        "void": 0,
    }
    assert captured.err == ""


def test_resuming_a_finished_run_does_nothing_and_exits_with_0(arguments, run, capsys):
    before = contents(run, ".")
    assert main(arguments("--resume", json=False)) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert contents(run, ".") == before


def test_a_run_that_exists_is_refused_in_one_line(arguments, run, capsys):
    before = contents(run, ".")
    assert main(arguments()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--resume" in line
    assert contents(run, ".") == before


def test_resume_takes_its_options_from_the_run(run, capsys):
    """Nobody has to repeat a command of two lines to go on."""
    assert main(["train", "--resume", "--out", str(run), "--steps", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["played"] == 1
    assert len(metrics(run)) == 3


def test_resume_with_another_option_names_it_in_one_line(run, capsys):
    before = contents(run, ".")
    assert main(["train", "--resume", f"--out={run}", "--rank", "7", "--steps", "3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "rank: 4 there, 7 now" in line
    assert contents(run, ".") == before


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_every_arrangement_is_an_option(arguments, arrangement):
    config = parse_train(arguments(arrangement=arrangement)[1:])
    assert config.policy.arrangement == arrangement


def test_the_fixed_names_are_options():
    words = (
        "--arrangement shared --algorithm reinforce_pp --model m --seeds s --judge j --judge-url u"
    )
    more = "--rewards magic --steps 3 --games 4 --max-new-tokens 5 --rank 6 --seed 7"
    config = parse_train(
        [*words.split(), *more.split(), "--checkpoint-every", "8", "--out", "o", "--json"]
    )
    flat = config.flat()
    assert [flat[k] for k in ("steps", "games", "max_new_tokens", "rank", "seed")] == [
        3,
        4,
        5,
        6,
        7,
    ]
    assert [flat[k] for k in ("checkpoint_every", "out", "json", "judge_url")] == [
        8,
        "o",
        True,
        "u",
    ]


def test_help_explains_every_option_with_its_default(capsys):
    assert run_main(["train", "--help-all"]) == 0
    shown = plain(capsys.readouterr().out)
    config = parse_train([])
    for name, value in config.flat().items():
        option = f"--{name.replace('_', '-')}"
        assert f"{option} " in shown, option
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            assert str(value) in shown
    assert "LoRA rank." in shown
    assert "KL penalty" in shown


def test_listing_the_commands_imports_no_torch():
    code = (
        "import sys; from redteam_env.cli.main import main; main(['--help']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for command in ("train", "quickstart", "models"):
        assert command in result.stdout
    assert "cannot be loaded" not in result.stdout


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig(ReinforcePPConfig):
    """Settings of a plug-in.

    Attributes:
        sparkle: How much it sparkles.
    """

    sparkle: float = 1.25


class PluginAlgorithm(ReinforcePP):
    Config = PluginConfig


def test_a_plug_ins_settings_are_options_are_explained_and_reach_it(
    arguments, doubles, tmp_path, capsys
):
    doubles("algorithms", "sparkling", PluginAlgorithm)
    assert run_main(["train", "--algorithm", "sparkling", "--help-all"]) == 0
    shown = plain(capsys.readouterr().out)
    assert "--sparkle FLOAT How much it sparkles. (default: 1.25)" in shown
    words = arguments("--algorithm=sparkling", "--sparkle", "2.5", steps=1)
    assert main(words) == 0
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["config"]["sparkle"] == 2.5
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "2"]) == 0
    assert run_main(arguments("--sparkle", "1")) == 2, "another algorithm has no such option"


def test_an_algorithm_without_settings_is_refused_by_name(arguments, doubles, capsys):
    doubles("algorithms", "bare", lambda *_, **__: None)
    assert main(arguments("--algorithm", "bare")) == 2
    assert "'bare' cannot be set: it has no dataclass Config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"judge_url": "http://127.0.0.1:1"}, "--judge-url http://127.0.0.1:1"),
        ({"opponent": "endpoint:x.toml"}, "--opponent endpoint:x.toml"),
        ({"scripted_attackers": "echo,endpoint:m@http://h"}, "--scripted-attackers echo,endpoint"),
    ],
)
def test_a_server_that_only_the_resumed_runs_file_names_is_not_asked(tmp_path, stored, words):
    record = {
        "schema": 1,
        "config": {"judge": "wildguard", "arrangement": "attacker_only", **stored},
    }
    (tmp_path / "config.json").write_text(json.dumps(record))
    resumed = ["--out", str(tmp_path), "--resume"]
    with commanded(), pytest.raises(RedteamError, match=f"add {words}"):
        parse_train(resumed)


def test_a_resumed_runs_judge_is_asked_where_the_user_says_so_again(tmp_path):
    url = "http://127.0.0.1:1"
    record = {"schema": 1, "config": {"judge": "wildguard", "judge_url": url}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    config = parse_train(["--out", str(tmp_path), "--resume", "--judge-url", url])
    assert (config.game.judge, config.game.judge_url) == ("wildguard", url)
