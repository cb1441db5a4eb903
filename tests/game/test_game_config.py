"""The settings of a game: which values they take, and how the thinking rules are written."""

import pytest

from redteam_env.game import ATTACKER, DEFENDER, GameConfig, RedteamError, Thinking, parse_thinking


def test_one_name_holds_for_all_seats():
    assert parse_thinking("required") == {
        ATTACKER: Thinking.REQUIRED,
        DEFENDER: Thinking.REQUIRED,
    }


def test_seats_can_be_named_one_by_one():
    assert parse_thinking("attacker_0=required, defender_0=none") == {
        ATTACKER: Thinking.REQUIRED,
        DEFENDER: Thinking.NONE,
    }
    assert parse_thinking("defender_0=none") == {DEFENDER: Thinking.NONE}
    assert parse_thinking({DEFENDER: "none"}) == {DEFENDER: Thinking.NONE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("always", r"'always'.*none, optional, required"),
        ("", r"''.*none, optional, required"),
        ("attacker=none", r"'attacker'.*attacker_0, defender_0"),
        ("attacker_0=maybe", r"'maybe'.*none, optional, required"),
        ("attacker_0=none,attacker_0=none", "attacker_0 twice"),
        ("attacker_0=none,", r"seat in thinking ''"),
    ],
)
def test_a_wrong_rule_says_what_is_allowed(text, message):
    with pytest.raises(RedteamError, match=message):
        parse_thinking(text)


def test_nothing_thought_is_public_unless_it_is_asked_for():
    assert GameConfig().thinking == "optional"


def test_settings_are_picked_out_of_a_runs_flat_configuration():
    flat = {"model": "x", "steps": 3, "prompts": None, "thinking": None, "exchanges": 3}
    assert GameConfig.from_flat(flat) == GameConfig(exchanges=3)
    assert GameConfig.from_flat({}) == GameConfig()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thinking": 5}, "thinking is 5; give a text"),
        ({"thinking": "maybe"}, r"'maybe'.*none, optional, required"),
        ({"thinking": "nobody=none"}, r"'nobody'.*attacker_0, defender_0"),
        ({"rewards": "best"}, r"'best'.*magic.*safety_only.*self_redteam.*zero_sum"),
        ({"seeds": 3}, "seeds is 3; give a text"),
        ({"exchanges": 0}, "exchanges is 0"),
        ({"drop_unfaithful": None}, "drop_unfaithful is None; give true or false"),
        ({"prompts": 3}, "prompts is 3; give a text or none"),
    ],
)
def test_a_wrong_value_is_named(config, message):
    with pytest.raises(RedteamError, match=message):
        GameConfig(**config)


def test_a_rule_that_is_none_says_how_seats_are_named():
    with pytest.raises(RedteamError) as caught:
        parse_thinking("attacker_0=none=x")
    assert str(caught.value) == (
        "Unknown thinking rule 'none=x'. Did you mean 'none'? Allowed: none, optional, required. "
        "Or name seats: attacker_0=required,defender_0=none."
    )
