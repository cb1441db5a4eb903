"""From settings to rules, for a run and for an environment."""

import pytest

from redteam_env import EnvConfig
from redteam_env.game import ATTACKER, DEFENDER, Game, GameConfig, RedteamError, Thinking
from redteam_env.worlds import build_game


def test_a_run_and_an_environment_play_the_same_game_by_default():
    whole = build_game(GameConfig())
    assert build_game(EnvConfig()) == whole
    assert all(whole.thinking_of(seat) == Game().thinking_of(seat) for seat in whole.seats)
    plain = Game()
    assert (whole.rewards, whole.prompts, whole.exchanges) == (
        plain.rewards,
        plain.prompts,
        plain.exchanges,
    )
    assert (whole.max_seed_chars, whole.max_action_chars) == (
        plain.max_seed_chars,
        plain.max_action_chars,
    )


def test_settings_reach_the_rules(tmp_path):
    for name in ("attacker_harmful", "attacker_benign", "defender", "thinking"):
        (tmp_path / f"{name}.txt").write_text(f"rules of {name}")
    (tmp_path / "attacker_request.txt").write_text("say {seed}")
    game = build_game(
        GameConfig(
            rewards="zero_sum",
            faithfulness_gate=-1.0,
            drop_unfaithful=True,
            exchanges=3,
            thinking="attacker_0=required",
            leak_on_violation=True,
            prompts=str(tmp_path),
            max_action_chars=99,
        )
    )
    assert (game.rewards.name, game.rewards.faithfulness_gate) == ("zero_sum", -1.0)
    assert game.rewards.drop_unfaithful
    assert (game.exchanges, game.leak_on_violation, game.max_action_chars) == (3, True, 99)
    assert game.thinking_of(ATTACKER) is Thinking.REQUIRED
    assert game.thinking_of(DEFENDER) is Thinking.OPTIONAL
    assert game.prompts.texts["defender"] == "rules of defender"


def test_a_directory_without_texts_is_named():
    with pytest.raises(RedteamError, match=r"/no/where.*attacker_harmful\.txt"):
        build_game(GameConfig(prompts="/no/where"))
