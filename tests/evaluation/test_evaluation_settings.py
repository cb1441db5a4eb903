import pytest

from redteam_env.envs import EnvConfig
from redteam_env.evaluation import build_game, parse_thinking
from redteam_env.game import ATTACKER, DEFENDER, Game, RedteamError, Thinking


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


def test_an_empty_configuration_is_the_environments_game():
    whole = EnvConfig().game()
    assert build_game({}) == whole
    assert build_game({"model": "x", "steps": 3, "prompts": None, "thinking": None}) == whole
    assert all(whole.thinking_of(seat) == Game().thinking_of(seat) for seat in whole.seats)


def test_a_training_configuration_gives_its_game(tmp_path):
    for name in ("attacker_harmful", "attacker_benign", "defender", "thinking"):
        (tmp_path / f"{name}.txt").write_text(f"rules of {name}")
    (tmp_path / "attacker_request.txt").write_text("say {seed}")
    game = build_game(
        {
            "rewards": "zero_sum",
            "faithfulness_gate": -1.0,
            "drop_unfaithful": True,
            "exchanges": 3,
            "thinking": "attacker_0=required",
            "leak_on_violation": True,
            "prompts": str(tmp_path),
            "max_action_chars": 99,
            "arrangement": "bipolicy",
        }
    )
    assert (game.rewards.name, game.rewards.faithfulness_gate) == ("zero_sum", -1.0)
    assert game.rewards.drop_unfaithful
    assert (game.exchanges, game.leak_on_violation, game.max_action_chars) == (3, True, 99)
    assert game.thinking_of(ATTACKER) is Thinking.REQUIRED
    assert game.thinking_of(DEFENDER) is Thinking.OPTIONAL
    assert game.prompts.texts["defender"] == "rules of defender"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thinking": 5}, "thinking is 5"),
        ({"rewards": "best"}, "'best'"),
        ({"exchanges": 0}, "exchanges is 0"),
    ],
)
def test_a_wrong_value_is_named(config, message):
    with pytest.raises(RedteamError, match=message):
        build_game(config)
