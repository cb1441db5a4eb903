"""Instruction texts of papers, read out of their own files: the names are theirs, these texts are not."""

import pytest

from redteam_env.game import ATTACKER, DEFENDER, GameConfig, RedteamError, Seed
from redteam_env.worlds import build_game
from redteam_env.worlds.published import published_prompts, published_sets

SOURCE = '''
import nowhere
ATTACKER_SYSTEM_PROMPT = "You test models."
_COT, _NONE = "x", 3
_FORMAT = "\\n\\nThink in tags."
_DIRECT = "\\n\\nJust answer."
_HARMFUL = """Worse: {vanilla_prompt}"""
ATTACKER_INSTRUCTION_PROMPT_HARMFUL = _HARMFUL + _DIRECT
ATTACKER_INSTRUCTION_PROMPT_BENIGN = "Harmless, but worse: {vanilla_prompt}" + _DIRECT
ATTACKER_INSTRUCTION_COT_PROMPT_HARMFUL = _HARMFUL + _FORMAT
ATTACKER_INSTRUCTION_COT_PROMPT_BENIGN = "Harmless, but worse: {vanilla_prompt}" + _FORMAT
DEFENDER_INSTRUCTION_COT_PROMPT = "A talk.\\n\\nUser: {user_query}"
raise SystemExit
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.py"
    path.write_text(SOURCE)
    return str(path)


def asked(prompts, *, harmful=True, thinking="required"):
    game = build_game(GameConfig(prompts=prompts, thinking=thinking))
    state = game.start(Seed(id="s", text="Hi?", harmful=harmful), rewritten=True)
    attacker = game.messages(state, ATTACKER)
    turn = "<think>x</think><answer>Ho?</answer>" if thinking == "required" else "Ho?"
    return attacker, game.messages(game.apply(state, turn), DEFENDER)


def test_self_redteams_texts_stand_in_the_user_turn(file):
    attacker, defender = asked(f"self_redteam:{file}")
    assert attacker == [
        {"role": "system", "content": "You test models."},
        {"role": "user", "content": "Worse: Hi?\n\nThink in tags."},
    ]
    assert defender == [{"role": "user", "content": "A talk.\n\nUser: Ho?"}]
    attacker, _ = asked(f"self_redteam:{file}", harmful=False)
    assert attacker[1]["content"] == "Harmless, but worse: Hi?\n\nThink in tags."


def test_without_thoughts_the_defender_is_told_nothing(file):
    attacker, defender = asked(f"self_redteam_direct:{file}", thinking="none")
    assert attacker[1]["content"] == "Worse: Hi?\n\nJust answer."
    assert defender == [{"role": "user", "content": "Ho?"}]


def test_other_texts_have_another_digest(file, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(SOURCE.replace("A talk.", "Another talk."))
    digests = {published_prompts("self_redteam", x).digest for x in (file, str(other))}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("self_redteam", "red_team/prompts.py.*--prompts self_redteam:FILE"),
        ("self_redteam:/no/where.py", "'/no/where.py' cannot be read"),
    ],
)
def test_a_missing_file_says_which_to_get(prompts, message):
    with pytest.raises(RedteamError, match=message):
        build_game(GameConfig(prompts=prompts))


@pytest.mark.parametrize("source", ["", SOURCE.replace("DEFENDER_", "DEFENCE_"), "x = ("])
def test_another_file_is_refused(tmp_path, source):
    path = tmp_path / "x.py"
    path.write_text(source)
    with pytest.raises(RedteamError, match=r"defines no string.*red_team/prompts.py|is no Python"):
        published_prompts("self_redteam", str(path))


def test_every_card_reads(file):
    assert published_sets() == ("self_redteam", "self_redteam_direct")
    for name in published_sets():
        assert published_prompts(name, file).texts["thinking"] == ""
    with pytest.raises(RedteamError, match="'self_redtean'"):
        published_prompts("self_redtean", file)
