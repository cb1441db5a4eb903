import inspect

import numpy as np
import pytest

import redteam_env
from redteam_env import EnvConfig, RedteamError, RewardTable, Thinking
from redteam_env.game import PRESETS

FACES = (redteam_env.env, redteam_env.raw_env, redteam_env.parallel_env)


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("seeds", "builtn", "Did you mean 'builtin'"),
        ("seeds", 3, "seed source 3"),
        ("judge", "lexicl", "Did you mean 'lexical'"),
        ("judge", object(), "judge"),
        ("judge_url", 80, "judge_url is 80"),
        ("rewards", "zerosum", "Did you mean 'zero_sum'"),
        ("rewards", 1.0, "rewards"),
        ("exchanges", 0, "exchanges is 0"),
        ("exchanges", 1.5, "exchanges is 1.5"),
        ("exchanges", True, "exchanges is True"),
        ("rewrite_fraction", 1.01, "rewrite_fraction is 1.01"),
        ("rewrite_fraction", True, "rewrite_fraction is True"),
        ("benign_fraction", -0.1, "benign_fraction is -0.1"),
        ("benign_fraction", float("nan"), "benign_fraction is nan"),
        ("benign_fraction", "half", "benign_fraction is 'half'"),
        ("thinking", "allways", "Allowed: none, optional, required"),
        ("thinking", None, "thinking is None"),
        ("thinking", {"attacker": "none"}, "Did you mean 'attacker_0'"),
        ("thinking", {"attacker_0": "never"}, "never"),
        ("leak_on_violation", 1, "leak_on_violation is 1"),
        ("prompts", 3, "prompts is 3"),
        ("prompts", "/no/such/folder", "/no/such/folder"),
        ("max_seed_chars", 0, "max_seed_chars is 0"),
        ("max_action_chars", "8000", "max_action_chars is '8000'"),
        ("faithfulness_gate", "low", "faithfulness_gate is 'low'"),
        ("faithfulness_gate", float("inf"), "faithfulness_gate is inf"),
        ("drop_unfaithful", "yes", "drop_unfaithful is 'yes'"),
        ("benign_refusal_weight", -1, "benign_refusal_weight is -1"),
        ("split", "test", "Allowed: heldout, train"),
        ("render_mode", "rgb_array", "Allowed: ansi, human"),
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_a_wrong_argument_is_named_with_its_value_and_the_cure(face, argument, value, told):
    with pytest.raises(RedteamError) as caught:
        face(**{argument: value})
    assert told in str(caught.value)


@pytest.mark.parametrize("face", [*FACES, redteam_env.single_seat])
def test_an_unknown_argument_gets_a_guess(face):
    seat = ["attacker_0"] if face is redteam_env.single_seat else []
    with pytest.raises(RedteamError, match="Did you mean 'exchanges'"):
        face(*seat, exchange=2)


def test_a_judge_that_asks_no_server_takes_no_url():
    with pytest.raises(RedteamError, match="url"):
        redteam_env.env(judge="lexical", judge_url="http://127.0.0.1:9")


def test_one_thinking_rule_serves_all_seats_and_a_mapping_some(tiny):
    every = redteam_env.raw_env(**tiny, thinking="required").session.game
    some = redteam_env.raw_env(**tiny, thinking={"attacker_0": "none"}).session.game
    assert [every.thinking_of(seat) for seat in every.seats] == [Thinking.REQUIRED] * 2
    assert [some.thinking_of(seat) for seat in some.seats] == [Thinking.NONE, Thinking.OPTIONAL]
    assert every.must_think("defender_0")


def test_reward_options_are_left_to_a_table_unless_given(tiny):
    table = RewardTable(name="mine", weights=PRESETS["magic"].weights, drop_unfaithful=True)
    kept = redteam_env.raw_env(**tiny, rewards=table).session.game.rewards
    changed = redteam_env.raw_env(
        **tiny, rewards=table, drop_unfaithful=False, faithfulness_gate=-2, benign_refusal_weight=0
    ).session.game.rewards
    assert kept is table
    assert (changed.drop_unfaithful, changed.faithfulness_gate) == (False, -2)
    assert changed.benign_refusal_weight == 0


def test_numpy_shares_are_numbers(tiny):
    env = redteam_env.raw_env(**tiny, rewrite_fraction=np.float64(1), benign_fraction=np.float64(0))
    env.reset(seed=0)
    assert env.agent_selection == "attacker_0"


def test_a_directory_of_prompts_replaces_ours(tmp_path, tiny):
    for name, text in redteam_env.raw_env(**tiny).session.game.prompts.texts.items():
        (tmp_path / f"{name}.txt").write_text(text if name != "defender" else "Be kind.")
    env = redteam_env.raw_env(**tiny, prompts=tmp_path)
    env.reset(seed=0)
    assert env.observe("defender_0")["instruction"] == "Be kind."


@pytest.mark.parametrize("face", FACES)
def test_signature_and_docstring_list_every_argument(face):
    names = list(inspect.signature(EnvConfig).parameters)
    assert list(inspect.signature(face).parameters) == names
    documented = [line.partition(":")[0].strip() for line in face.__doc__.splitlines()]
    assert [name for name in names if name not in documented] == []


def test_the_single_seat_lists_its_own_arguments_too():
    names = list(inspect.signature(redteam_env.single_seat).parameters)
    assert names == ["seat", "opponent", "model", *inspect.signature(EnvConfig).parameters]
    assert "    opponent: " in redteam_env.single_seat.__doc__
