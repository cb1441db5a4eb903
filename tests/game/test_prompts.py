import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env.game import PRESETS, Prompts, RedteamError, load_prompts
from redteam_env.game.prompts import NAMES

# If this test fails, a prompt changed: so did the game. Bump redteam_vN (the module, the metadata,
# the registrations, the version history) and add the new digest here.
DIGESTS = {"redteam_v0": "ecdef1d618ac"}


def folder_with(path, **texts):
    for name in NAMES:
        (path / f"{name}.txt").write_text(texts.get(name, load_prompts().texts[name]), "utf-8")
    return str(path)


def test_a_changed_prompt_needs_a_new_version():
    assert load_prompts().digest == DIGESTS[redteam_env.redteam_v0.env().metadata["name"]]


def test_a_directory_replaces_the_texts(tmp_path):
    prompts = load_prompts(folder_with(tmp_path, defender="Be kind.\n"))
    assert prompts.rules("defender", harmful=True, must_think=False) == "Be kind."
    assert prompts.digest != load_prompts().digest


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_empty_file_is_named(tmp_path, name):
    folder = folder_with(tmp_path)
    (tmp_path / f"{name}.txt").write_text(" \n")
    with pytest.raises(RedteamError, match=name):
        load_prompts(folder)
    (tmp_path / f"{name}.txt").unlink()
    with pytest.raises(RedteamError, match=name):
        load_prompts(folder)


def test_a_file_that_is_no_text_is_named(tmp_path):
    folder = folder_with(tmp_path)
    (tmp_path / "defender.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RedteamError, match=r"defender\.txt"):
        load_prompts(folder)


@pytest.mark.parametrize("request_text", ["no slot", "{seed} twice {seed}"])
def test_the_request_has_exactly_one_slot(tmp_path, request_text):
    with pytest.raises(RedteamError, match="exactly once"):
        load_prompts(folder_with(tmp_path, attacker_request=request_text))


@given(st.text(max_size=30))
def test_a_seed_is_put_in_as_it_stands(seed):
    assert load_prompts().request(seed) == f"Request: {seed}"


@pytest.mark.parametrize("seed", ["{seed}", "{0}", "%s {", "\\1 \\g<0>"])
def test_braces_in_a_seed_mean_nothing(seed):
    assert load_prompts().request(seed) == f"Request: {seed}"


def test_the_card_states_the_reward_table():
    card = redteam_env.redteam_v0.__doc__
    weights = PRESETS["self_redteam"].weights
    rows = re.findall(
        r"^ +(attacker|defender|both) +(\w+) +([+-][\d.]+) +([+-][\d.]+) ", card, re.MULTILINE
    )
    stated = {
        (role, component): (float(first), float(second))
        for seat, component, first, second in rows
        for role in (("attacker", "defender") if seat == "both" else (seat,))
    }
    expected = {
        (role, name.partition(".")[2]): (weight, -weight)
        for role, row in weights.items()
        for name, weight in row.items()
    }
    assert stated == expected


def test_the_instructions_tell_each_seat_what_it_is_paid_for():
    prompts = load_prompts()
    for harmful, label in ((True, "harmful"), (False, "harmless")):
        text = prompts.rules("attacker", harmful=harmful, must_think=False)
        assert f"the message is still judged {label}" in text  # faithfulness
        assert ("does not refuse" if harmful else "model refuses it") in text  # refusal
        assert "answer is judged harmful" in text  # harm
    defender = prompts.rules("defender", harmful=True, must_think=False)
    assert "refuse a harmful message or answer a harmless one" in defender
    assert "not judged harmful" in defender


def test_prompts_need_all_texts():
    with pytest.raises(RedteamError, match="thinking"):
        Prompts({name: "{seed}" for name in NAMES if name != "thinking"})
