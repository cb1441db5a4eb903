"""The supervised term: what its file may hold, and that it teaches both roles their examples."""

import json
import math
import re

import pytest
from table_policy import TablePolicy, role_batch
from training_fakes import metrics

from agents.lora.config import PolicyConfig
from agents.lora.policy import lora
from algorithms.core.supervised import read_examples
from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from algorithms.training.trainer import train
from redteam_env.game import Game, RedteamError, Seed, Thinking
from redteam_env.game.thinking import split_action
from redteam_env.rollout import turn_request

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
    (example,) = read_examples(write(tmp_path, GOOD, ""), policy, game)["defender"]
    prompt = policy.codec.decode(example.prompt_ids)
    assert game.prompts.rules("defender", harmful=False, must_think=True) in prompt
    assert GOOD["prompt"] in prompt
    assert prompt.endswith(game.prefill("defender_0"))
    assert policy.codec.decode(example.completion_ids) == GOOD["response"]
    assert example.completion_ids[-1] in policy.codec.stop_ids
    assert example.finished


@pytest.mark.parametrize("harmful", [True, False])
def test_an_attackers_examples_are_prompted_as_it_is_in_the_game(policy, tmp_path, harmful):
    game = Game(thinking={"attacker_0": Thinking.REQUIRED})
    line = {"role": "attacker", "prompt": "brew it", "response": "Do brew it."}
    if not harmful:
        line["harmful"] = False
    file = write(tmp_path, line, {**GOOD, "role": "defender"}, GOOD)
    found = read_examples(file, policy, game)
    assert [(role, len(examples)) for role, examples in found.items()] == [
        ("attacker", 1),
        ("defender", 2),
    ]
    (example,) = found["attacker"]
    state = game.start(Seed(id="s", text="brew it", harmful=harmful), rewritten=True)
    request = turn_request(game, state, ("game", 0))
    prompt = policy.codec.encode(request.messages, request.prefill)
    assert example.prompt_ids == prompt
    assert policy.codec.decode(example.completion_ids) == line["response"][:8]


def test_a_defenders_prompt_may_be_longer_than_a_seed(policy, tmp_path):
    file = write(tmp_path, {**GOOD, "prompt": "long " * 3})
    assert read_examples(file, policy, Game(max_seed_chars=5))["defender"]


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        (Thinking.NONE, "4"),
        (Thinking.OPTIONAL, "<think>2+2</think><answer>4</answer>"),
        (Thinking.REQUIRED, "2+2</think><answer>4</answer>"),
    ],
)
@pytest.mark.parametrize("role", ["attacker", "defender"])
def test_a_thought_is_put_into_the_format_of_the_roles_rule(
    tiny_model, tmp_path, rule, written, role
):
    config = PolicyConfig(model=str(tiny_model), rank=2, max_new_tokens=50, device="cpu")
    policy = lora(config, seed=0)
    game = Game(thinking={f"{role}_0": rule})
    file = write(tmp_path, {"role": role, "prompt": "2+2?", "thought": "2+2", "response": "4"})
    (example,) = read_examples(file, policy, game)[role]
    assert policy.codec.decode(example.completion_ids) == written
    turn = game.prefill(f"{role}_0") + written
    assert split_action(turn, rule).visible == "4"
    assert split_action(turn, rule).well_formed


def test_what_is_too_long_with_its_thought_is_left_out_with_a_warning(policy, tmp_path):
    game = Game(thinking={"defender_0": Thinking.REQUIRED})
    long = {**GOOD, "thought": "hm"}
    with pytest.warns(UserWarning, match="1 of the examples in .* are left out"):
        found = read_examples(write(tmp_path, GOOD, long), policy, game)
    assert len(found["defender"]) == 1
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(RedteamError, match="holds none that fits"),
    ):
        read_examples(write(tmp_path, long), policy, game)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({**GOOD, "thought": 3}, "a thought that is no text"),
        ({**GOOD, "thought": " "}, "do not keep the format"),
        ({**GOOD, "thought": "a </think> b"}, "do not keep the format"),
        ({**GOOD, "thought": "a", "response": "<answer>b</answer>"}, "do not keep the format"),
        ({**GOOD, "role": "judge"}, "role 'judge'; give one of defender, attacker"),
        ({**GOOD, "role": ["attacker"]}, "role"),
        ({**GOOD, "role": "attacker", "harmful": "yes"}, "harmful = 'yes'; give true or false"),
        ({**GOOD, "prompt": "\ud800"}, "lone surrogates"),
    ],
)
def test_a_wrong_role_or_label_is_an_error_that_names_the_line(policy, tmp_path, bad, named):
    file = write(tmp_path, GOOD, "", bad)
    with pytest.raises(RedteamError, match=f"[Ll]ine 3 of .*{re.escape(named)}"):
        read_examples(file, policy, Game())


def test_a_long_response_is_cut_and_a_hostile_one_stays_content(policy, tmp_path):
    hostile = {"prompt": "<|im_end|>", "response": "<|im_end|> and so on for long"}
    (example,) = read_examples(write(tmp_path, hostile), policy, Game())["defender"]
    harmless_file = write(tmp_path, {**hostile, "prompt": "x"})
    (harmless,) = read_examples(harmless_file, policy, Game())["defender"]
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


def attack(seed, rewrite):
    return {"role": "attacker", "prompt": seed, "response": rewrite}


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared"])
@pytest.mark.parametrize("roles", [("defender",), ("attacker",), ("attacker", "defender")])
def test_the_examples_become_likelier(tiny_config, tmp_path, arrangement, roles):
    lines = {
        "defender": [GOOD, {"prompt": "Name a colour.", "response": "Blue."}],
        "attacker": [attack("Name a colour.", "What is sky?")],
    }
    config = tiny_config(
        arrangement=arrangement,
        sft_file=write(tmp_path, *(line for role in roles for line in lines[role])),
        steps=6,
        checkpoint_every=6,
        lr=1e-2,
        kl=0.0,
        games=4,
    )
    train(config)
    rows = metrics(tmp_path / "run")
    for role in roles:
        losses = [row[f"{role}/sft_loss"] for row in rows]
        assert losses[-1] < 0.8 * losses[0]
    logged = {name for row in rows for name in row if name.endswith("/sft_loss")}
    assert logged == {f"{role}/sft_loss" for role in roles}


SPLIT = {"attacker": "attacker", "defender": "defender"}
SHARED = {"attacker": "shared", "defender": "shared"}


def learned(file, weights, reward, **options):
    """Tables of letters after two updates on games with a reward, and what was logged."""
    tables = {name: [[0.0, 0.0, 0.0]] for name in ("base", *weights.values())}
    policy = TablePolicy(weights, tables)
    config = ReinforcePPConfig(lr=0.1, sft_file=file, **options)
    algorithm = ReinforcePP(config, policy=policy, game=Game(), seed=0)
    old = -math.log(3)
    rows = []
    for _ in range(2):
        games = {
            role: role_batch(role, [((0,), (old,), reward), ((1,), (old,), 0)]) for role in SPLIT
        }
        rows.append(algorithm.update(policy, games))
    return {name: policy.rows(name)[0] for name in set(weights.values())}, rows


def test_in_a_warm_start_only_the_examples_teach(tmp_path):
    file = write(tmp_path, attack("p", "c"))
    lost, rows = learned(file, SPLIT, -1.0, sft_steps=2)
    won, _ = learned(file, SPLIT, 1.0, sft_steps=2)
    assert lost == won
    assert won["attacker"][2] > won["attacker"][0] == won["attacker"][1]
    assert won["defender"] == [0.0, 0.0, 0.0]
    assert all("attacker/sft_loss" in row and "attacker/kl" in row for row in rows)
    assert not any("attacker/loss" in row or "defender/lr" in row for row in rows)


@pytest.mark.parametrize("weights", [SPLIT, SHARED])
def test_after_a_warm_start_games_teach_too(tmp_path, weights):
    file = write(tmp_path, attack("p", "c"), {"prompt": "p", "response": "c"})
    found, rows = learned(file, weights, 1.0, sft_steps=1)
    assert found != learned(file, weights, -1.0, sft_steps=1)[0]
    assert all(table[2] > table[0] > table[1] for table in found.values())
    assert ["attacker/loss" in row for row in rows] == [False, True]
    assert all(f"{role}/sft_loss" in row for row in rows for role in weights)


def test_a_warm_start_without_what_it_learns_from_is_refused(tmp_path):
    with pytest.raises(RedteamError, match="sft_steps is 3, but there is no sft_file"):
        ReinforcePPConfig(sft_steps=3)
    alone = {"attacker": "base", "defender": "defender"}
    with pytest.raises(RedteamError, match="examples for the attacker only, which is not trained"):
        learned(write(tmp_path, attack("p", "c")), alone, 1.0, sft_steps=3)
