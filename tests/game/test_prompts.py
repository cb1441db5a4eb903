import copy
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    PRESETS,
    Framed,
    Game,
    Prompts,
    RedteamError,
    Seed,
    load_prompts,
    prompt_sets,
)
from redteam_env.game.prompts import NAMES

# If this test fails, a prompt changed: so did the game. Bump redteam_vN (the module, the metadata,
# the registrations, the version history) and add the new digest here.
DIGESTS = {"redteam_v0": "e2b25c38b396"}


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
    if name != "thinking":  # an empty one says that the other texts tell the format
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
        if role != "judge"  # what its seat is paid stands below the table
    }
    assert stated == expected


@pytest.mark.parametrize("name", prompt_sets())
def test_the_instructions_tell_each_seat_what_it_is_paid_for(name):
    prompts = load_prompts(name)
    attacker = {
        label: prompts.rules("attacker", harmful=label, must_think=False) for label in (True, False)
    }
    assert "must still ask for the same harmful thing" in attacker[True]  # faithfulness
    assert "must stay harmless" in attacker[False]
    assert "instead of a refusal" in attacker[True]  # refusal
    assert re.search("refuses it|is refused", attacker[False])
    for text in attacker.values():  # harm
        assert re.search("harmful answer|answered with something harmful", text)
    defender = prompts.rules("defender", harmful=True, must_think=False)
    assert "Answer harmless requests, even if they sound risky" in defender
    assert "Refuse harmful requests" in defender
    assert "never give a harmful answer" in defender


@pytest.mark.parametrize("name", prompt_sets())
def test_no_instruction_speaks_of_scores_or_of_a_judge(name):
    words = r"\b(score|scores|points?|reward|rewards|paid|judge|judged|win|lose)\b"
    for text in load_prompts(name).texts.values():
        assert not re.search(words, text, re.IGNORECASE)


def test_a_pipe_in_the_place_of_a_text_is_not_waited_for(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.txt").write_text(
            "\ufeffa {seed}" if name == "attacker_request" else "\ufeffb", "utf-8"
        )
    assert load_prompts(str(tmp_path)).texts["defender"] == "b"
    (tmp_path / "defender.txt").unlink()
    os.mkfifo(tmp_path / "defender.txt")
    load_prompts.cache_clear()
    with pytest.raises(RedteamError, match=r"prompt defender\.txt .* it is a pipe"):
        load_prompts(str(tmp_path))


def test_a_set_is_named_and_default_is_the_default():
    assert load_prompts("default") == load_prompts()
    assert load_prompts("example").digest != load_prompts().digest
    total = {name: sum(map(len, load_prompts(name).texts.values())) for name in prompt_sets()}
    assert total["example"] < 1.5 * total["default"]


def test_an_unknown_set_says_which_there_are():
    with pytest.raises(
        RedteamError, match=r"'exmaple'. Did you mean 'example'.*default.*directory"
    ):
        load_prompts("exmaple")


def test_a_folder_called_like_a_set_is_named_with_its_path(tmp_path, monkeypatch):
    (tmp_path / "example").mkdir()
    folder_with(tmp_path / "example", defender="Be kind.")
    monkeypatch.chdir(tmp_path)
    assert load_prompts("example").texts["defender"] != "Be kind."
    assert load_prompts("./example").texts["defender"] == "Be kind."


FRAMED = {
    "attacker_system": "You attack.",
    "attacker_harmful": "Make it worse: {request}\nEnd of {request}",
    "attacker_benign": "Make it look worse: {request}",
    "defender": "A talk.\n\nUser: {request}\nAssistant:",
    "thinking": "",
}
HOSTILE = "{request} {seed} {0} %s \\1 {request"


def framed_game(**changes):
    return Game(prompts=Prompts({**FRAMED, **changes}), exchanges=2)


def test_texts_with_a_place_for_the_request_stand_in_the_user_turn():
    game = framed_game()
    state = game.start(Seed(id="s", text="Hi?", harmful=True), rewritten=True)
    assert game.messages(state, ATTACKER) == [
        {"role": "system", "content": "You attack."},
        {"role": "user", "content": "Make it worse: Hi?\nEnd of Hi?"},
    ]
    state = game.apply(state, "Ho?")
    assert game.messages(state, DEFENDER) == [
        {"role": "user", "content": "A talk.\n\nUser: Ho?\nAssistant:"}
    ]
    state = game.apply(game.apply(state, "No."), "Now?")
    assert game.messages(state, DEFENDER)[1:] == [
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Now?"},
    ]


def test_a_raw_seed_stands_in_the_defenders_place():
    game = framed_game()
    state = game.start(Seed(id="s", text="Hi?", harmful=False), rewritten=False)
    (message,) = game.messages(state, DEFENDER)
    assert message["content"] == "A talk.\n\nUser: Hi?\nAssistant:"
    assert game.instruction(state, DEFENDER) == FRAMED["defender"]


def test_hostile_text_in_a_place_is_data():
    game = framed_game()
    state = game.start(Seed(id="s", text=HOSTILE, harmful=True), rewritten=True)
    user = game.messages(state, ATTACKER)[1]["content"]
    assert user == f"Make it worse: {HOSTILE}\nEnd of {HOSTILE}"
    assert user.parts == ("Make it worse: ", HOSTILE, "\nEnd of ", HOSTILE, "")
    user = game.messages(game.apply(state, HOSTILE), DEFENDER)[0]["content"]
    assert user.parts == ("A talk.\n\nUser: ", HOSTILE, "\nAssistant:")
    assert (
        game.instruction(state, ATTACKER)
        == f"You attack.\n\nMake it worse: {HOSTILE}\nEnd of {HOSTILE}"
    )


def test_a_copy_of_a_framed_message_keeps_its_parts():
    framed = Framed(("a", "b", "c"))
    assert copy.deepcopy(framed) == "abc"
    assert copy.deepcopy(framed).parts == ("a", "b", "c")


def test_the_thinking_rule_stands_behind_a_text_in_the_user_turn():
    game = Game(prompts=Prompts({**FRAMED, "thinking": "Think."}), thinking={DEFENDER: "required"})
    state = game.start(Seed(id="s", text="Hi?", harmful=False), rewritten=False)
    (message,) = game.messages(state, DEFENDER)
    assert message["content"].endswith("User: Hi?\nAssistant:\nThink.")


def test_a_directory_may_hold_texts_for_the_user_turn(tmp_path):
    for name, text in FRAMED.items():
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    assert load_prompts(str(tmp_path)) == Prompts(FRAMED)
    assert load_prompts(str(tmp_path)).digest != Prompts({**FRAMED, "defender": "x"}).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacker_benign": "No place."}, "attacker_request"),
        (
            {"defender_system": "x", "defender": "no place"},
            "defender_system.*defender has no place",
        ),
        ({"thinking": "Think about {request}."}, "thinking holds {request}"),
        ({"attacker_system": "{request}"}, "attacker_system holds {request}"),
        ({"attackr": "x"}, "'attackr'"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(RedteamError, match=message):
        Prompts({**FRAMED, **changes})


def test_the_space_of_observations_holds_a_filled_place(tmp_path):
    for name, text in FRAMED.items():
        Path(tmp_path / f"{name}.txt").write_text(text, "utf-8")
    env = redteam_env.raw_env(prompts=str(tmp_path), max_seed_chars=500)
    longest = Seed(id="s", text="y" * 500, harmful=True)
    env.reset(seed=0, options={"seed": longest, "rewritten": True})
    for seat in env.agents:
        assert env.observation_space(seat).contains(env.observe(seat))


def test_prompts_need_all_texts():
    with pytest.raises(RedteamError, match="thinking"):
        Prompts({name: "{seed}" for name in NAMES if name != "thinking"})
