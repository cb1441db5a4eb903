"""What ``redteam-env plan`` prints, as text and as JSON, and how it refuses."""

import json
import re
import subprocess
import sys

import pytest

from agents.plan.command import PlanOptions
from redteam_env.cli.main import main

QWEN = "Qwen/Qwen2.5-14B-Instruct"
SIDE_BY_SIDE = ["shared_full", "shared", "bipolicy", "independent"]


def planned(capsys, *arguments):
    assert main(["plan", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert main(["plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_the_four_arrangements_stand_side_by_side(capsys):
    assert main(["plan", "--model", QWEN, "--gpu", "h100-80gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    cells = {row[0]: row[1:] for row in rows}
    head = next(line for line in lines if "independent" in line)
    assert head.split() == SIDE_BY_SIDE
    assert cells["parameters each"] == ["14,770.0 M", "137.6 M", "137.6 M", "14,770.0 M"]
    assert cells["full / each"] == ["1.0x", "107.3x", "107.3x", "1.0x"]
    assert cells["full / all"] == ["1.0x", "107.3x", "53.7x", "0.5x"]
    assert cells["weights"] == ["55.0 GiB", "27.5 GiB", "27.5 GiB", "110.0 GiB"]
    assert cells["reference"] == ["55.0 GiB", "0", "0", "55.0 GiB"]
    assert cells["fits"] == ["no", "yes", "yes", "no"]
    assert "Largest batches for bipolicy: --generation-batch " in lines[-1]


def test_json_holds_bytes_that_add_up_to_what_the_table_says(capsys):
    found = planned(capsys, "--model", QWEN, "--memory", "80")
    assert list(found["arrangements"]) == SIDE_BY_SIDE
    assert found["parameters"] == 14_770_033_664
    assert found["available"] == 80 * 2**30
    for column in found["arrangements"].values():
        memory = column["memory"]
        resident = ("runtime", "weights", "adapters", "reference", "optimiser")
        assert memory["resident"] == sum(memory[name] for name in resident)
        work = memory["gradients"] + memory["activations"] + memory["training_work"]
        assert memory["training"] == memory["resident"] + work
        assert memory["peak"] == max(memory["sampling"], memory["training"])
        assert column["fits"] == (memory["peak"] <= 0.9 * found["available"])
    assert found["arrangements"]["bipolicy"]["trained"] == {
        "number": 2,
        "each": 137_625_600,
        "full_over_each": pytest.approx(107.3, abs=0.05),
        "total": 275_251_200,
        "full_over_total": pytest.approx(53.7, abs=0.05),
    }
    assert found["suggested"]["arrangement"] == "bipolicy"


def test_the_suggested_options_are_accepted_and_fit(capsys):
    place = ["--model", QWEN, "--gpu", "h100-80gb", "--prompt-tokens", "300"]
    sizes = planned(capsys, *place)["suggested"]
    options = [
        word
        for name in ("generation_batch", "micro_batch", "micro_tokens")
        for word in (f"--{name.replace('_', '-')}", str(sizes[name]))
    ]
    found = planned(capsys, *place, *options)
    assert found["arrangements"]["bipolicy"]["fits"]
    assert found["batch"]["rows"] == sizes["micro_batch"]


def test_without_a_memory_the_smallest_gpu_is_named(capsys):
    found = planned(capsys, "--model", "Qwen/Qwen2.5-3B-Instruct")
    assert found["suggested"] is None
    assert found["arrangements"]["bipolicy"]["smallest_gpu"] == "l4-24gb"
    assert main(["plan", "--model", QWEN]) == 0
    out = capsys.readouterr().out
    assert "smallest GPU" in out
    assert "none of them" in out


def test_what_does_not_fit_is_said_with_a_cure(capsys):
    assert main(["plan", "--model", QWEN, "--memory", "24"]) == 0
    out = capsys.readouterr().out
    assert "bipolicy does not fit, not even one sequence at a time." in out
    assert "--gradient-checkpointing" in out


def test_one_trained_seat_gets_a_column_of_its_own(capsys):
    found = planned(capsys, "--model", "apothecary", "--arrangement", "attacker_only")
    assert list(found["arrangements"]) == [*SIDE_BY_SIDE, "attacker_only"]
    assert found["arrangements"]["attacker_only"]["trained"]["number"] == 1


def test_a_cpu_is_planned_in_float32(capsys):
    found = planned(capsys, "--model", "smollm2", "--device", "cpu")
    assert {column["dtype"] for column in found["arrangements"].values()} == {"float32"}
    assert found["arrangements"]["independent"]["memory"]["saving"] > 0
    assert main(["plan", "--model", "smollm2", "--device", "cpu"]) == 0
    assert "MALLOC_MMAP_THRESHOLD_=65536" in capsys.readouterr().out


def test_a_long_pass_has_at_least_one_sample(capsys):
    found = planned(capsys, "--model", "smollm2", "--prompt-tokens", "4000")
    assert found["batch"]["rows"] == 1


def test_a_hostile_name_drives_no_terminal(tmp_path, capsys):
    folder = tmp_path / "[red]\x1b[31m\u202e"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "vocab_size": 8,
    }
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["plan", "--model", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "[red]\\x1b[31m\\u202e" in out
    assert "\x1b" not in out
    assert main(["plan", "--json", "--model", str(folder)]) == 0
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "qwen"], "Unknown model 'qwen'"),
        (["--model", "\x1b[31m"], "\\x1b[31m"),
        (["--model", "smollm2", "--rank", "0"], "rank is 0"),
        (["--model", "smollm2", "--rank", "-4"], "rank is -4"),
        (["--model", "smollm2", "--targets", "w_q"], "Target module 'w_q' does not exist"),
        (["--model", "smollm2", "--memory", "-1"], "memory is -1.0 GiB"),
        (["--model", "smollm2", "--gpu", "h100"], "Did you mean 'h100-80gb'?"),
        (["--model", "smollm2", "--gpu", "l4-24gb", "--memory", "9"], "give one"),
        (["--model", "smollm2", "--gpu", "l4-24gb", "--device", "cpu"], "exclude each other"),
        (["--model", "smollm2", "--prompt-tokens", "0"], "prompt_tokens is 0"),
        (["--model", "smollm2", "--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--model", "smollm2", "--minibatch", "0"], "minibatch is 0"),
        (["--model", "smollm2", "--micro-batch", "-1"], "micro_batch is -1"),
        (["--model", "smollm2", "--micro-tokens", "0"], "micro_tokens is 0"),
        (["--model", "smollm2", "--generation-batch", "0"], "generation_batch is 0"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_the_value(arguments, words, capsys):
    message = refused(capsys, *arguments)
    assert words in message
    assert message.count("\n") == 1


def test_defaults_are_those_of_training():
    from algorithms.reinforce_pp import ReinforcePPConfig

    for name in ("minibatch", "micro_batch", "micro_tokens"):
        assert getattr(PlanOptions(model=""), name) == getattr(ReinforcePPConfig(), name)


def test_planning_imports_no_torch():
    code = (
        "import sys; from redteam_env.cli.main import main; "
        f"main(['plan', '--model', {QWEN!r}, '--gpu', 'h100-80gb']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
