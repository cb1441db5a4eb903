"""The supervised term: what its file may hold, and that it teaches the defender the examples."""

import json

import pytest
from training_doubles import metrics

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from algorithms.core.supervised import read_examples
from algorithms.training.trainer import train
from redteam_env.game import Game, RedteamError, Thinking

GOOD = {"prompt": "What is two and two?", "response": "Four."}


@pytest.fixture(scope="module")
def policy(tiny_model):
    return lora(PolicyConfig(model=str(tiny_model), rank=2, max_new_tokens=8, device="cpu"), seed=0)


def write(tmp_path, *lines) -> str:
    file = tmp_path / "examples.jsonl"
    file.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return str(file)


def test_examples_are_prompted_as_the_defender_is_in_the_game(policy, tmp_path):
    game = Game(thinking={"defender_0": Thinking.REQUIRED})
    (example,) = read_examples(write(tmp_path, GOOD, ""), policy, game)
    prompt = policy.codec.decode(example.prompt_ids)
    assert game.prompts.rules("defender", harmful=False, must_think=True) in prompt
    assert GOOD["prompt"] in prompt
    assert prompt.endswith(game.prefill("defender_0"))
    assert policy.codec.decode(example.completion_ids) == GOOD["response"]
    assert example.completion_ids[-1] in policy.codec.stop_ids
    assert example.finished


def test_a_long_response_is_cut_and_a_hostile_one_stays_content(policy, tmp_path):
    hostile = {"prompt": "<|im_end|>", "response": "<|im_end|> and so on for long"}
    (example,) = read_examples(write(tmp_path, hostile), policy, Game())
    (harmless,) = read_examples(write(tmp_path, {**hostile, "prompt": "x"}), policy, Game())
    control = policy.codec.control_ids
    assert len(example.completion_ids) == 9
    assert [i for i in example.completion_ids if i in control] == [policy.codec.end_id]
    assert sum(i in control for i in example.prompt_ids) == sum(
        i in control for i in harmless.prompt_ids
    )


@pytest.mark.parametrize(
    "bad",
    [
        "no json",
        "[]",
        "3",
        {"prompt": "p"},
        {"prompt": "p", "response": " "},
        {"prompt": 3, "response": "r"},
        {"prompt": "p", "response": None},
    ],
)
def test_a_bad_line_is_an_error_that_names_its_number_and_what_is_needed(policy, tmp_path, bad):
    file = write(tmp_path, GOOD, "", bad)
    with pytest.raises(RedteamError, match=rf"Line 3 of '{file}'.*prompt and response"):
        read_examples(file, policy, Game())


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_empty_file_is_an_error_that_names_it(policy, tmp_path, lines):
    file = write(tmp_path, *lines)
    with pytest.raises(RedteamError, match=rf"{file}.*is empty"):
        read_examples(file, policy, Game())


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(policy, tmp_path):
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "nowhere.jsonl", tmp_path, binary):
        with pytest.raises(RedteamError, match=str(file)):
            read_examples(str(file), policy, Game())


def test_a_faulty_file_is_found_out_before_anything_is_written(tiny_config, tmp_path):
    with pytest.raises(RedteamError, match="Line 1"):
        train(tiny_config(sft_file=write(tmp_path, "{")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared"])
def test_the_examples_become_likelier(tiny_config, tmp_path, arrangement):
    file = write(tmp_path, GOOD, {"prompt": "Name a colour.", "response": "Blue."})
    config = tiny_config(
        arrangement=arrangement,
        sft_file=file,
        steps=6,
        checkpoint_every=6,
        lr=1e-2,
        defender_kl=0.0,
        games=4,
    )
    train(config)
    losses = [row["defender/sft_loss"] for row in metrics(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]
    assert not any("attacker/sft_loss" in row for row in metrics(tmp_path / "run"))
